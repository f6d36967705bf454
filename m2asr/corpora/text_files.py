"""Makes a text set of plain text: normalized, filtered, without duplicates and without the sentences of held-out sets."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from m2asr.data.directory import KIND
from m2asr.data.lines import rows_of
from m2asr.data.report import SHOWN, first_of
from m2asr.errors import UserError
from m2asr.files import replace_dir
from m2asr.lm.lines import open_lines
from m2asr.ownership import check_different, check_replaceable
from m2asr.progress import visible
from m2asr.text.language import language_of
from m2asr.text.normalize import normalize
from m2asr.text.scripts import foreign_share


@dataclass(frozen=True)
class Limits:
    """What a sentence may be: its length, in words or in characters of a language without spaces, and its share of foreign letters."""

    least: int = 1
    most: int = 200
    foreign: float = 0.2

    def broken_by(self, line: str, text: str, lang: str) -> str | None:
        """The reason to drop a line that is `text` after normalization, or None."""
        unspaced = language_of(lang).unspaced
        unit, length = ("characters", len(text.replace(" ", ""))) if unspaced else ("words", len(text.split()))
        if not text:
            return "nothing left after normalization"
        if length < self.least:
            return f"fewer than {self.least} {unit}"
        if length > self.most:
            return f"more than {self.most} {unit}"
        if foreign_share(line, lang) > self.foreign:
            return f"more than {self.foreign:.0%} of the letters in scripts that {lang} is not written in"
        return None


class TextReport:
    """Counts the lines that were read, kept, and dropped for each reason; `str` shows the first of these as file:line: text."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.read = self.kept = 0
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)
        self.notes: list[str] = []

    def drop(self, reason: str, where: str, line: str) -> None:
        """Count a dropped line."""
        self.dropped[reason] += 1
        if len(self.examples[reason]) < SHOWN:
            self.examples[reason].append(f"{where}: `{' '.join(line.split())[:60]}`")

    def __str__(self) -> str:
        lines = [f"{self.out}: {self.kept} sentences of {self.read} lines, {self.dropped.total()} dropped"]
        for reason, count in self.dropped.most_common():
            lines += [f"{reason}: {count}", *first_of(self.examples[reason], count)]
        return "\n".join([*lines, *self.notes])


def prepare_texts(files: Sequence[Path], out: Path, lang: str, without: Sequence[Path] = (), limits: Limits | None = None) -> TextReport:
    """Write the sentences of text files, one per line and perhaps packed by gzip, into the text set `out`.

    They are normalized as transcripts are. Dropped are those that break `limits`, those that a text of the sets `without` has (`text` or
    `text.<name>`, without regard to spaces), and repeated ones but for the first. An id is made of the name of the file and the number
    of the line, so it does not depend on what is dropped. Memory holds 8-byte hashes of the sentences, about 75 bytes each. Raises
    UserError for a file that cannot be read, and if nothing is left; then `out` stays as it was.
    """
    report = TextReport(out)
    check_different(out, list(without))
    check_replaceable(out, KIND)
    named = _named(files)
    if not without:
        report.notes.append("no held-out sets were given (--without): sentences of dev and test sets may be among these")
    held_out = {_hash(text) for folder in without for text in _held_out(folder, lang)}
    with replace_dir(out, KIND) as folder:
        with _table(folder / "text") as text_file, _table(folder / "utt2lang") as lang_file:
            for utt, text in _kept(named, lang, limits or Limits(), held_out, report):
                text_file.write(f"{utt} {text}\n")
                lang_file.write(f"{utt} {lang}\n")
        if not report.kept:
            reasons = "; ".join(f"{reason}: {count}" for reason, count in report.dropped.most_common()) or "they are empty"
            raise UserError(f"{out}: none of {report.read} lines is left ({reasons}); correct --lang, the files or the limits")
    return report


def _kept(named: Mapping[str, Path], lang: str, limits: Limits, held_out: Set[int], report: TextReport) -> Iterator[tuple[str, str]]:
    """Id and normalized text of the sentences that stay, sorted by id; the report counts them, and the others."""
    seen: set[int] = set()
    for name in sorted(named):
        for number, line in _numbered(named[name], report):
            text = normalize(line, lang)
            reason, key = limits.broken_by(line, text, lang), _hash(text)
            if reason is None and (key in held_out or key in seen):
                reason = "in a held-out set" if key in held_out else "repeated"
            if reason is None:
                seen.add(key)
                report.kept += 1
                yield f"{name}-{number:010d}", text
            else:
                report.drop(reason, f"{named[name]}:{number}", line)


def _table(path: Path) -> IO[str]:
    return open(path, "w", encoding="utf-8", newline="\n")


def _named(files: Iterable[Path]) -> dict[str, Path]:
    """The files by the beginnings of their ids. A `-` ends it and is not in it, so that ids are sorted as these names are."""
    named: dict[str, Path] = {}
    for path in files:
        if not path.exists():
            raise UserError(f"{path}: no such file; correct the path")
        if path.name.split(".")[0] == "text" and (path.parent / "utt2lang").is_file():
            raise UserError(f"{path}: a table of a data directory, with ids; give plain text, a sentence per line")
        name = re.sub(r"[^\w.]+", "_", re.sub(r"(\.txt)?(\.gz)?$", "", path.name))
        if name in named:
            raise UserError(f"{path}: its sentences would have the same ids as those of {named[name]}; rename one of the files")
        named[name] = path
    return named


def _numbered(path: Path, report: TextReport) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, from 1; counts them, and drops those that are not UTF-8."""
    with open_lines(path) as lines, tqdm(lines, desc=f"read {path}", unit="line", unit_scale=True, disable=not visible()) as bar:
        for number, line in enumerate(bar, 1):
            report.read += 1
            try:
                yield number, line.decode()
            except UnicodeDecodeError:
                report.drop("not UTF-8", f"{path}:{number}", line.decode(errors="replace"))


def _held_out(folder: Path, lang: str) -> Iterator[str]:
    """The normalized texts of a set that is held out, in all its text files."""
    tables = [path for path in sorted(folder.glob("text*")) if path.name.split(".")[0] == "text"]
    if not tables:
        raise UserError(f"--without {folder}: no data directory with a text; correct the path, or run stage 0 (data) first")
    for path in tables:
        for row in rows_of(path):
            yield normalize(row.value.decode(), lang)


def _hash(text: str) -> int:
    """8 bytes that stand for a text without its spaces."""
    return int.from_bytes(hashlib.blake2b(text.replace(" ", "").encode(), digest_size=8).digest(), "big")
