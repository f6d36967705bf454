"""Kaldi data directories: tables of `id value` lines, sorted in the C locale, and the utterances they describe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m2asr.errors import UserError
from m2asr.files import open_atomic, replace_dir

Tables = Mapping[str, Mapping[str, str]]  # file name -> id -> value


@dataclass
class Utterance:
    """One utterance as a corpus describes it; `seconds` is its length, `translations` maps languages to texts."""

    id: str
    speaker: str
    lang: str
    wav: str  # path of the recording
    seconds: float
    text: str | None = None  # normalized for recognition
    translations: Mapping[str, str] = field(default_factory=dict)  # cased and punctuated
    recording: str | None = None  # id of the recording where the utterance is a segment of a longer one
    start: float = 0.0  # seconds into that recording
    source: str | None = None  # what it comes from where a set mixes corpora; results can be told per source


def read_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number (from 1), id and value of every line. Raises UserError (file:line) for an empty line or text that is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None
    for number, line in enumerate(data.splitlines(), 1):
        try:
            key, _, value = line.decode("utf-8").replace("\t", " ").partition(" ")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}:{number}: not UTF-8 ({error.reason} at byte {error.start}); convert the file") from None
        if not key:
            raise UserError(f"{path}:{number}: the line has no id; remove it or run fix_data_dir")
        yield number, key, value.strip()


def read_table(path: str | Path) -> dict[str, str]:
    """A table {id: value}. Raises UserError (file:line) where an id stands twice."""
    path = Path(path)
    table: dict[str, str] = {}
    for number, key, value in read_lines(path):
        if key in table:
            raise UserError(f"{path}:{number}: {key}: this id stands in the file twice; run fix_data_dir")
        table[key] = value
    return table


def write_table(path: str | Path, table: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
    """Write `id value` lines in C-locale order of the ids."""
    rows = table.items() if isinstance(table, Mapping) else table
    with open_atomic(path) as file:
        file.writelines(f"{key} {value}".rstrip() + "\n" for key, value in sorted(rows, key=lambda row: row[0].encode()))


def speakers(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """spk2utt from utt2spk."""
    found = defaultdict(list)
    for utt in sorted(utt2spk, key=str.encode):
        found[utt2spk[utt]].append(utt)
    return {speaker: " ".join(utts) for speaker, utts in found.items()}


def table_files(folder: Path) -> list[Path]:
    """The tables of a data directory, but spk2utt, which follows from utt2spk. Raises UserError where this is no data directory."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data directory")
    for name in ("wav.scp", "utt2spk"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: {name} is missing, this is no data directory; run stage 0 (data) first")
    names = {"wav.scp", "segments", "utt2spk", "utt2lang", "utt2dur", "utt2source", "text"}
    return [path for path in sorted(folder.iterdir()) if path.name in names or path.name.startswith("text.")]


def read_tables(folder: str | Path) -> dict[str, dict[str, str]]:
    """All tables of a data directory by file name."""
    return {path.name: read_table(path) for path in table_files(Path(folder))}


def select(tables: Tables, keep: set[str]) -> dict[str, dict[str, str]]:
    """The lines of the utterances `keep`, and of the recordings that their segments name; tables left empty are left out."""
    recordings = {value.split()[0] for utt, value in tables.get("segments", {}).items() if utt in keep} or keep
    chosen = {}
    for name, table in tables.items():
        wanted = recordings if name == "wav.scp" else keep
        chosen[name] = {key: value for key, value in table.items() if key in wanted}
    return {name: table for name, table in chosen.items() if table}


def write_tables(folder: Path, tables: Tables) -> None:
    """Write tables and their spk2utt into a folder."""
    for name, table in tables.items():
        write_table(folder / name, table)
    write_table(folder / "spk2utt", speakers(tables["utt2spk"]))


def check_replaceable(path: Path) -> None:
    """Raise UserError where `path` holds something else than a data directory."""
    if path.exists() and not (path.is_dir() and ((path / "utt2spk").exists() or not any(path.iterdir()))):
        raise UserError(f"{path}: it exists and is no data directory; choose another place or remove it")


def replace_data_dir(path: str | Path, tables: Tables) -> None:
    """Write a data directory that replaces `path` as a whole. Raises UserError where `path` holds something else."""
    path = Path(path)
    check_replaceable(path)
    with replace_dir(path) as folder:
        write_tables(folder, tables)


def table_rows(one: Utterance) -> Iterator[tuple[str, str, str]]:
    """File, id and value of every line that describes an utterance."""
    yield "wav.scp", one.recording or one.id, one.wav
    if one.recording:
        yield "segments", one.id, f"{one.recording} {one.start:.3f} {one.start + one.seconds:.3f}"
    yield "utt2spk", one.id, one.speaker
    yield "utt2lang", one.id, one.lang
    yield "utt2dur", one.id, f"{one.seconds:.3f}"
    if one.source is not None:
        yield "utt2source", one.id, one.source
    if one.text is not None:
        yield "text", one.id, one.text
    for lang, text in one.translations.items():
        yield f"text.{lang}", one.id, text
