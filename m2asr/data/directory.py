"""Kaldi data directories: tables of `id value` lines, sorted in the C locale, and the utterances they describe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m2asr.errors import UserError
from m2asr.files import open_atomic, open_input, recover, replace_dir
from m2asr.ownership import Kind, check_different

CODE_LENGTHS = "utt2codes"  # `utterance count seconds codebook`: what text.codes was made of, see m2asr/decode/codes.py
Tables = Mapping[str, Mapping[str, str]]  # file name -> id -> value
KIND: Kind = "a data directory"


@dataclass
class Utterance:
    """An utterance of a corpus; `seconds` is its length, `translations` maps languages to texts."""

    id: str
    speaker: str
    lang: str
    wav: str  # path of the recording
    seconds: float
    text: str | None = None  # normalized for recognition
    translations: Mapping[str, str] = field(default_factory=dict)  # cased and punctuated
    recording: str | None = None  # id of the recording, if the utterance is a segment of a longer one
    start: float = 0.0  # seconds into that recording
    source: str | None = None  # its corpus, if a set mixes corpora; results can be reported per source


def read_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number (from 1), id and value of every line. Raises UserError (file:line) for an empty line or text that is not UTF-8."""
    with open_input(path) as file:
        data = file.read()
    for number, line in enumerate(data.splitlines(), 1):
        try:
            key, _, value = line.decode("utf-8").removeprefix("\ufeff").replace("\t", " ").partition(" ")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}:{number}: not UTF-8 ({error.reason} at byte {error.start}); convert the file") from None
        if not key:
            raise UserError(f"{path}:{number}: the line has no id; remove it or run fix_data_dir")
        yield number, key, value.strip()


def read_table(path: str | Path) -> dict[str, str]:
    """A table {id: value}. Raises UserError (file:line) for an id with two lines."""
    path = Path(path)
    table: dict[str, str] = {}
    for number, key, value in read_lines(path):
        if key in table:
            raise UserError(f"{path}:{number}: {key}: this id has two lines in the file; run fix_data_dir")
        table[key] = value
    return table


def write_table(path: str | Path, table: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
    """Write `id value` lines in C-locale order of the ids."""
    rows = table.items() if isinstance(table, Mapping) else table
    with open_atomic(path) as file:
        file.writelines(f"{key} {value}".rstrip() + "\n" for key, value in sorted(rows, key=lambda row: row[0].encode()))


def speakers(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """spk2utt from utt2spk."""
    by_speaker = defaultdict(list)
    for utt in sorted(utt2spk, key=str.encode):
        by_speaker[utt2spk[utt]].append(utt)
    return {speaker: " ".join(utts) for speaker, utts in by_speaker.items()}


def is_text_set(data_dir: Path) -> bool:
    """Whether a set has texts and no recordings: `text`, `text.<name>` and utt2lang."""
    return not (data_dir / "wav.scp").exists() and not (data_dir / "utt2spk").exists() and any(data_dir.glob("text*"))


def table_files(folder: Path, made: Container[str] = ()) -> list[Path]:
    """The paths of the tables of a data directory or text set, without spk2utt, which follows from utt2spk.

    Raises UserError for any other folder; tables in `made` may be missing.
    """
    if not recover(folder).is_dir():
        raise UserError(f"{folder}: no such data directory; correct the path, or run stage 0 (data) first")
    for name in ("utt2lang",) if is_text_set(folder) else ("wav.scp", "utt2spk"):
        if not (folder / name).is_file() and name not in made:
            raise UserError(f"{folder}: {name} is missing, this is no data directory; run stage 0 (data) first")
    names = {"wav.scp", "segments", "utt2spk", "utt2lang", "utt2dur", "utt2source", "text"}
    return [path for path in sorted(folder.iterdir()) if path.name in names or may_lack(path.name)]


def may_lack(table: str) -> bool:
    """Whether a table may lack utterances, and a set this table: further texts, such as translations, and the lengths of codes."""
    return table.startswith("text.") or table == CODE_LENGTHS


def reference_of(tables: Container[str]) -> str:
    """The name of the table that has a line for every utterance."""
    return "utt2spk" if "utt2spk" in tables else "utt2lang"


def read_tables(folder: str | Path) -> dict[str, dict[str, str]]:
    """All tables of a data directory by file name."""
    return {path.name: read_table(path) for path in table_files(Path(folder))}


def select(tables: Tables, keep: set[str]) -> dict[str, dict[str, str]]:
    """The lines of the utterances `keep`, and of the recordings that their segments name; without tables that are then empty."""
    recordings = {value.split()[0] for utt, value in tables.get("segments", {}).items() if utt in keep} or keep
    chosen = {}
    for name, table in tables.items():
        ids = recordings if name == "wav.scp" else keep
        chosen[name] = {key: value for key, value in table.items() if key in ids}
    return {name: table for name, table in chosen.items() if table}


def write_tables(folder: Path, tables: Tables) -> None:
    """Write tables and their spk2utt, if they name speakers, into a folder."""
    for name, table in tables.items():
        write_table(folder / name, table)
    if "utt2spk" in tables:
        write_table(folder / "spk2utt", speakers(tables["utt2spk"]))


def replace_data_dir(path: str | Path, tables: Tables, sources: Sequence[str | Path] = ()) -> None:
    """Write a data directory that replaces `path` in one step; its tables were read from the folders `sources`.

    Raises UserError if `path` is one of these, or is no data directory that this toolkit made.
    """
    path = Path(path)
    check_different(path, list(map(Path, sources)))
    with replace_dir(path, KIND) as folder:
        write_tables(folder, tables)


def table_rows(utterance: Utterance) -> Iterator[tuple[str, str, str]]:
    """The file name, id and value of every line of a data directory that describes an utterance."""
    yield "wav.scp", utterance.recording or utterance.id, utterance.wav
    if utterance.recording:
        yield "segments", utterance.id, f"{utterance.recording} {utterance.start:.3f} {utterance.start + utterance.seconds:.3f}"
    yield "utt2spk", utterance.id, utterance.speaker
    yield "utt2lang", utterance.id, utterance.lang
    yield "utt2dur", utterance.id, f"{utterance.seconds:.3f}"
    if utterance.source is not None:
        yield "utt2source", utterance.id, utterance.source
    if utterance.text is not None:
        yield "text", utterance.id, utterance.text
    for lang, text in utterance.translations.items():
        yield f"text.{lang}", utterance.id, text
