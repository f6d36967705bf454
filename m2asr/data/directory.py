"""Kaldi data directories: tables of `id value` lines, sorted in the C locale, and the utterances they describe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m2asr.errors import UserError
from m2asr.files import open_atomic, replace_dir


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


def write_data_dir(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a data directory that replaces `path` as a whole."""
    utterances = list(utterances)
    with replace_dir(path) as folder:
        utt2spk = {one.id: one.speaker for one in utterances}
        write_table(folder / "wav.scp", {one.id: one.wav for one in utterances})
        write_table(folder / "utt2spk", utt2spk)
        write_table(folder / "spk2utt", speakers(utt2spk))
        write_table(folder / "utt2lang", {one.id: one.lang for one in utterances})
        write_table(folder / "utt2dur", {one.id: f"{one.seconds:.3f}" for one in utterances})
        texts = {one.id: one.text for one in utterances if one.text is not None}
        if texts:
            write_table(folder / "text", texts)
        for lang in sorted({lang for one in utterances for lang in one.translations}):
            write_table(folder / f"text.{lang}", {one.id: one.translations[lang] for one in utterances if lang in one.translations})
