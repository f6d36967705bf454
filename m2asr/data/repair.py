"""Mend, cut down and join data directories."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from m2asr.data.directory import read_table, speakers, write_table
from m2asr.errors import UserError
from m2asr.files import replace_dir

PER_UTTERANCE = ("utt2spk", "utt2lang", "utt2dur")
BACKUP = ".backup"


def fix(folder: str | Path) -> str:
    """Sort every file, drop lines that cannot be used and utterances that some file lacks, make spk2utt anew.

    The files as they were go to .backup/. Returns what was dropped, per reason. Raises UserError where nothing would be left.
    """
    folder = Path(folder)
    if not (folder / "utt2spk").is_file() or not (folder / "wav.scp").is_file():
        raise UserError(f"{folder}: utt2spk or wav.scp is missing; without them there is nothing to mend, prepare the corpus again")
    dropped: list[str] = []
    tables = {path.name: _lenient(path, dropped) for path in _files(folder)}
    utts = set(tables["utt2spk"])
    has_text = "text" in tables
    for name in ("utt2lang", "utt2dur", "segments", *(["text"] if has_text else []), *([] if "segments" in tables else ["wav.scp"])):
        if name in tables:
            known = {utt for utt, value in tables[name].items() if value}
            dropped += [f"{utt}: no line or nothing in {name}" for utt in sorted(utts - known)]
            utts &= known
    if not utts:
        raise UserError(f"{folder}: no utterance is in all files; prepare the corpus again")
    recordings = {value.split()[0] for utt, value in tables.get("segments", {}).items() if utt in utts} or utts
    with replace_dir(folder) as out:
        backup = out / BACKUP
        backup.mkdir()
        for path in _files(folder):
            shutil.copy2(path, backup / path.name)
        for name, table in tables.items():
            keep = recordings if name == "wav.scp" else utts
            dropped += [
                f"{utt}: in {name} only" for utt in sorted(table.keys() - keep) if name != "utt2spk" and utt not in tables["utt2spk"]
            ]
            write_table(out / name, {utt: value for utt, value in table.items() if utt in keep and value})
        write_table(out / "spk2utt", speakers({utt: tables["utt2spk"][utt] for utt in utts}))
    lines = [f"{folder}: {len(utts)} utterances kept, {len(dropped)} lines dropped; the old files are in {folder / BACKUP}"]
    return "\n".join([*lines, *(f"  {one}" for one in dropped[:10]), *(["  ..."] if len(dropped) > 10 else [])])


def subset(folder: str | Path, out: str | Path, keep: Iterable[str]) -> int:
    """Write the utterances `keep` of a data directory to another one; returns their number. Raises UserError for ids it does not have."""
    folder, keep = Path(folder), set(keep)
    tables = {path.name: read_table(path) for path in _files(folder)}
    unknown = sorted(keep - tables["utt2spk"].keys())
    if unknown:
        raise UserError(f"{folder}: {unknown[0]}: no such utterance ({len(unknown)} unknown ids)")
    if not keep:
        raise UserError(f"{out}: the subset would be empty")
    _write(Path(out), tables, keep)
    return len(keep)


def combine(folders: Sequence[str | Path], out: str | Path) -> int:
    """Join data directories; returns the number of utterances. Raises UserError where an id or a file is in one but not in all."""
    joined: dict[str, dict[str, str]] = {}
    names = [{path.name for path in _files(Path(folder))} for folder in folders]
    for folder, own in zip(folders, names, strict=True):
        for name in sorted(names[0] ^ own):
            if not name.startswith("text."):
                raise UserError(f"{folder}: {name} is in one of the directories but not in all; they do not fit together")
        for name in own:
            table = read_table(Path(folder) / name)
            twice = sorted(table.keys() & joined.get(name, {}).keys())
            if twice:
                raise UserError(f"{Path(folder) / name}: {twice[0]}: this id is in two of the directories ({len(twice)} ids)")
            joined.setdefault(name, {}).update(table)
    _write(Path(out), joined, set(joined["utt2spk"]))
    return len(joined["utt2spk"])


def _files(folder: Path) -> list[Path]:
    """The tables of a data directory, without spk2utt, which follows from utt2spk."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data directory")
    names = {"wav.scp", "segments", *PER_UTTERANCE}
    found = [path for path in sorted(folder.iterdir()) if path.name in names or path.name == "text" or path.name.startswith("text.")]
    if not {"wav.scp", "utt2spk"} <= {path.name for path in found}:
        raise UserError(f"{folder}: wav.scp or utt2spk is missing; this is no data directory")
    return found


def _write(out: Path, tables: Mapping[str, Mapping[str, str]], keep: set[str]) -> None:
    recordings = {value.split()[0] for utt, value in tables.get("segments", {}).items() if utt in keep} or keep
    with replace_dir(out) as folder:
        for name, table in tables.items():
            wanted = recordings if name == "wav.scp" else keep
            rows = {utt: value for utt, value in table.items() if utt in wanted}
            if rows:
                write_table(folder / name, rows)
        write_table(folder / "spk2utt", speakers({utt: tables["utt2spk"][utt] for utt in keep}))


def _lenient(path: Path, dropped: list[str]) -> dict[str, str]:
    """A table without the lines that cannot be used; of lines with one id the first."""
    table: dict[str, str] = {}
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        try:
            utt, *value = raw.decode("utf-8").split(None, 1)
        except (UnicodeDecodeError, ValueError):
            dropped.append(f"{path}:{number}: not UTF-8 or without an id")
            continue
        if utt in table:
            dropped.append(f"{path}:{number}: {utt}: stands there twice")
        else:
            table[utt] = " ".join(value[0].split()) if value else ""
    return table
