"""Repairs a data directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

from m2asr.config import FbankConfig
from m2asr.data.directory import KIND, Tables, reference_of, select, table_files, write_tables
from m2asr.data.durations import durations
from m2asr.data.lines import as_utf8
from m2asr.data.report import UNHEARD, UNUSABLE, Report
from m2asr.data.validate import validate
from m2asr.errors import UserError
from m2asr.files import open_input, replace_dir
from m2asr.text.normalize import normalize

BACKUP = ".backup"
SHOWN = 10  # dropped lines named before the rest are only counted


def fix(
    folder: str | Path, check_wav: bool = False, allow_pipes: bool = False, lang: str | None = None, fbank: FbankConfig | None = None
) -> tuple[str, Report]:
    """Sort every file, normalize texts, make spk2utt anew, drop lines that cannot be used and utterances that some file lacks.

    Durations that utt2dur lacks are those of the segments or recordings; languages that utt2lang lacks are `lang`. With `check_wav` also
    drop utterances of whose recording no features can be computed, with the config `fbank`. The old directory goes to .backup/ inside it,
    or .backup2/ and so on where it was repaired before. Returns a summary of what was dropped and why, and a report of the remaining
    problems. Raises UserError if no utterance would remain, or if a file cannot be copied; then nothing is changed.
    """
    folder = Path(folder)
    dropped = [f"{path.name}: a link that leads nowhere" for path in sorted(folder.glob("*")) if path.is_symlink() and not path.exists()]
    tables = {path.name: _lenient(path, dropped) for path in table_files(folder, made=("utt2lang",) if lang else ())}
    if lang:
        utts = tables.get("utt2spk", tables.get("text", {}))
        tables["utt2lang"] = dict.fromkeys(utts, lang) | tables.get("utt2lang", {})
    if "wav.scp" in tables:
        tables["utt2dur"] = durations(tables, folder, allow_pipes, dropped) | tables.get("utt2dur", {})
    pipes = [utt for utt, wav in tables.get("wav.scp", {}).items() if wav.endswith("|")]
    if check_wav and pipes and not allow_pipes:
        raise UserError(f"{folder / 'wav.scp'}: {pipes[0]}: to check a command it must run; give --allow_pipes or leave out --check_wav")
    for utt in tables.get("text", {}).keys() & tables.get("utt2lang", {}).keys():
        tables["text"][utt] = normalize(tables["text"][utt], tables["utt2lang"][utt])
    tables = _common(tables, folder, dropped)
    backup = _free_name(folder)
    with replace_dir(folder, KIND, repair=True) as out:
        _copy(folder, out)
        _copy(folder, out / backup, ignore=shutil.ignore_patterns(f"{BACKUP}*"))
        write_tables(out, tables)
        options = {"fbank": fbank, "audio": check_wav, "text": "text" in tables, "allow_pipes": allow_pipes, "keep_long_text": True}
        report = validate(out, **options)
        bad = {problem.utt: problem.message for kind in (*UNUSABLE, *UNHEARD) for problem in report.problems.get(kind, [])}
        if bad:
            dropped += [f"{utt}: {message}" for utt, message in sorted(bad.items())]
            segments = tables.get("segments", {}).items()
            unusable = bad.keys() | {utt for utt, value in segments if value.split()[:1] and value.split()[0] in bad}
            tables = {name: {key: value for key, value in table.items() if key not in unusable} for name, table in tables.items()}
            tables = _common(tables, folder, [])
            write_tables(out, tables)
        for path in table_files(out):
            if path.name not in tables:
                path.unlink()  # it would be empty
    report = validate(folder, **options)
    kept = len(tables[reference_of(tables)])
    summary = [f"{folder}: {kept} utterances kept, {len(dropped)} lines or utterances dropped; as it was: {folder / backup}"]
    summary += [f"  {line}" for line in dropped[:SHOWN]]
    if len(dropped) > SHOWN:
        summary.append(f"  ... and {len(dropped) - SHOWN} more")
    return "\n".join(summary), report


def _copy(folder: Path, out: Path, ignore: Callable[..., set[str]] | None = None) -> None:
    """Copy a data directory, without links that lead nowhere. Raises UserError for the first file that cannot be copied."""
    try:
        shutil.copytree(folder, out, dirs_exist_ok=True, ignore=ignore, ignore_dangling_symlinks=True)
    except shutil.Error as error:
        source, _, problem = error.args[0][0]
        raise UserError(f"{source}: cannot be copied, so nothing was changed: {problem}; move it away, or mend it") from None


def _free_name(folder: Path) -> str:
    """The name of a backup that the folder does not have yet."""
    names = (f"{BACKUP}{number if number > 1 else ''}" for number in count(1))
    return next(name for name in names if not (folder / name).exists())


def _common(tables: Tables, folder: Path, dropped: list[str]) -> dict[str, dict[str, str]]:
    """The lines of the utterances that are in every file; notes the others in `dropped`."""
    reference = reference_of(tables)
    utts = set(tables[reference])
    recordings = "segments" if "segments" in tables else "wav.scp"
    needed = ("utt2spk", "utt2lang", "utt2dur", "utt2source", "text", recordings)
    for name in (name for name in needed if name in tables):
        lacking = {utt for utt in utts if not tables[name].get(utt)}
        dropped += [f"{utt}: has no {name}" for utt in sorted(lacking)]
        utts -= lacking
    if "segments" in tables:
        lacking = {utt for utt in utts if tables["segments"][utt].split()[0] not in tables["wav.scp"]}
        dropped += [f"{utt}: its recording is not in wav.scp" for utt in sorted(lacking)]
        utts -= lacking
    if not utts:
        why = f" ({dropped[0]})" if dropped else ""
        raise UserError(f"{folder}: no utterance would be left{why}, nothing was changed; run stage 0 (data) again")
    for name, table in tables.items():
        if name != "wav.scp" or "segments" not in tables:
            dropped += [f"{utt}: is in {name} but not in {reference}" for utt in sorted(table.keys() - tables[reference].keys())]
    translated = {name: {utt: value for utt, value in table.items() if value} for name, table in tables.items()}
    return select(translated, utts)


def _lenient(path: Path, dropped: list[str]) -> dict[str, str]:
    """Read a table without the lines that cannot be used; of lines with the same id only the first."""
    table: dict[str, str] = {}
    with open_input(path) as file:
        data = as_utf8(file.read())[0]
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            utt, *value = raw.decode("utf-8").split(None, 1)
        except (UnicodeDecodeError, ValueError):
            dropped.append(f"{path}:{number}: not UTF-8, or without an id")
            continue
        if utt in table:
            dropped.append(f"{path}:{number}: {utt}: a second line with this id")
        else:
            table[utt] = value[0].strip() if value else ""
    return table
