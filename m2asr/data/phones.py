"""Writes text.phones, how the texts of a data directory or text set are read out, and counts what has no reading."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path

from tqdm import tqdm

from m2asr.data.lines import Row, shown
from m2asr.data.report import SHOWN, first_of
from m2asr.data.texts import rows_with_language
from m2asr.errors import UserError
from m2asr.files import keep_time, open_atomic
from m2asr.ownership import note
from m2asr.progress import visible
from m2asr.text.phones import Reader, Reading, reader_for

FILE = "text.phones"
CHUNK = 2000  # texts that a reader gets at once
KINDS = 10  # characters without a reading that are named before the rest are only counted


def write_phones(folder: Path, lang: str | None = None, how: str | None = None) -> PhoneReport:
    """Write text.phones beside the text of a set: the same ids, in the same order.

    `lang` is the language of all texts, by default that of utt2lang. An utterance of which nothing can be read has no line; the report
    counts it. A file that would stay as it is keeps its time, so that indexes of the set stay valid. Raises UserError where there is no
    text, its ids are unsorted, or nothing in it can be read; then the folder stays as it was.
    """
    path = folder / FILE
    if not (folder / "text").is_file():
        raise UserError(f"{folder}: it has no file text to read out; correct the path, or run stage 0 (data) first")
    report = PhoneReport(folder)
    note(folder, FILE)
    with open_atomic(path) as file:
        for (row, _), reading in _read(rows_with_language(folder, "text"), lang, how):
            report.add(row, reading)
            if reading.phones:
                file.write(f"{shown(row.id)} {reading.phones}\n")
        if not report.written:
            raise UserError(f"{folder / 'text'}: no utterance can be read out; correct --lang, or take another --how")
        report.state = keep_time(file, path)
    return report


def _read(rows: Iterable[tuple[Row, str]], lang: str | None, how: str | None) -> Iterator[tuple[tuple[Row, str], Reading]]:
    """Every line with its reading; neighbours of the same language are read together."""
    readers: dict[str, Reader] = {}
    with tqdm(rows, unit="utt", unit_scale=True, disable=not visible()) as bar:
        for spoken, group in groupby(bar, key=lambda row: lang or row[1]):
            if spoken not in readers:
                readers[spoken] = reader_for(spoken, how)
            while chunk := list(islice(group, CHUNK)):
                yield from zip(chunk, readers[spoken]([row.value.decode() for row, _ in chunk]), strict=True)


class PhoneReport:
    """Counts utterances, phones, and characters without a reading; `str` shows the first of each as file:line: id: what."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, "written"
        self.utterances = self.written = 0
        self.phones: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)  # by character
        self.silent: list[str] = []  # the first utterances without a phone

    def add(self, row: Row, reading: Reading) -> None:
        """Count an utterance."""
        self.utterances += 1
        self.written += bool(reading.phones)
        self.phones.update(reading.phones.split())
        where = f"{self.folder / 'text'}:{row.number}: {shown(row.id)}"
        if not reading.phones and len(self.silent) < SHOWN:
            self.silent.append(f"{where}: `{shown(row.value)[:40]}`")
        for character in reading.unread:
            self.unread[character] += 1
            if len(self.examples[character]) < SHOWN:
                self.examples[character].append(f"{where}: {character}")

    def __str__(self) -> str:
        lines = [f"{self.folder / FILE}: {self.state}, {self.written} utterances, {len(self.phones)} phones, {self.phones.total()} in all"]
        if silent := self.utterances - self.written:
            lines += [f"without a line, as nothing in them can be read: {silent}", *first_of(self.silent, silent)]
        if self.unread:
            lines.append(f"characters without a reading, left out: {self.unread.total()}, {len(self.unread)} different")
        for character, count in self.unread.most_common(KINDS):
            lines += [f"{character} (U+{ord(character):04X}): {count}", *first_of(self.examples[character], count)]
        if len(self.unread) > KINDS:
            lines.append(f"... and {len(self.unread) - KINDS} more characters")
        return "\n".join(lines)
