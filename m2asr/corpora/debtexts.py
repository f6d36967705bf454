"""debtexts: sentences of books and fortune cookies in Debian packages, as text sets of Mandarin and Czech.

The Debian Administrator's Handbook (Hertzog and Mas; GPL-2 or later, or CC-BY-SA-3.0), and the packages fortunes-zh and fortunes-cs of
sayings, poems and quotations (GPL-3 or later).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path

from m2asr.corpora.debs import package_files
from m2asr.corpora.debspeech.packages import Package
from m2asr.corpora.download import download
from m2asr.corpora.parts import choose_parts, pick_parts
from m2asr.corpora.summary import Summary
from m2asr.corpora.text_files import Limits, prepare_texts
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.text.language import language_of

# ruff: noqa: E501 - a row is a line
TABLE = """
handbook debian-handbook 11.20220922 d/debian-handbook all 34758056 3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa
zh fortunes-zh 2.98 f/fortune-zh all 546072 211c5ddee59d0ae74ce01cbfd02f7c8714740bae1835d5661eb2254edd739105
cs fortunes-cs 2.0.9-1.1 f/fortunes-cs all 485912 5a38a15bcd58c6a2f777a1f2db8d51da901bc3d0147b2db3597c8a1b78acb447
"""
PACKAGES = {name: Package(name, *row[:4], int(row[4]), row[5]) for name, *row in map(str.split, TABLE.strip().splitlines())}
CHAPTERS = {"zh": "zh-CN", "cs": "cs-CZ", "en": "en-US"}  # folders of the handbook; English to find what was not translated
LANGS = ("zh", "cs")
LIMITS = Limits(2, 60)
COOKIES = re.compile(r"usr/share/games/fortunes/(?!.*(\.dat|\.u8|/klasik-sk)$).+")
ATTRIBUTION = re.compile(r"\s*--\s|.*\x1b\[")  # who said it; in fortunes-zh titles, authors and lists have colours
ENDS = re.compile(r"(?<=[。！？；…])|(?<=[.!?])[\"'”“»]*\s+")


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download the packages of the languages `parts`, or of all; returns a report.

    Raises the UserErrors of `download`, and UserError for an unknown language, and for `remove`, since `prepare` reads the packages.
    """
    if remove:
        raise UserError("--remove_archives: debtexts is prepared from the packages themselves; leave it out", exit_code=2)
    files = [PACKAGES[name].remote(mirror) for name in ("handbook", *pick_parts(parts, LANGS))]
    download(files, out)
    return f"{out}: {len(files)} packages of texts; their licences are in usr/share/doc/*/copyright of each"


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> str:
    """Write the text sets text_<language> under `out`, without the sentences of dev_<language> and test_<language>, which must be there.

    The sentences before normalization and filtering are kept in `corpus`/sentences. Raises UserError for a missing or damaged package.
    """
    notes = Summary()
    fetched = {lang: all((corpus / PACKAGES[name].file).is_file() for name in ("handbook", lang)) for lang in LANGS}
    chosen = choose_parts(
        parts, LANGS, fetched.__getitem__, lambda lang: f"its packages: python -m m2asr.bin.download debtexts --parts {lang}", notes
    )
    if not chosen:
        raise UserError(f"--corpus {corpus}: no package of debtexts; fetch them: python -m m2asr.bin.download debtexts --out {corpus}")
    reports = []
    for lang in chosen:
        held_out = [out / f"{split}_{lang}" for split in ("dev", "test")]
        if missing := [folder for folder in held_out if not folder.is_dir()]:
            raise UserError(f"{missing[0]}: not there, and its sentences are to be left out; prepare the speech of {lang} first")
        files = [corpus / "sentences" / f"{name}_{lang}.txt" for name in ("fortunes", "handbook")]
        for path, paragraphs in zip(files, (cookies(corpus, lang), handbook(corpus, lang)), strict=True):
            with open_atomic(path, "wb") as file:
                for sentence in paragraphs:
                    file.write(f"{sentence}\n".encode(errors="surrogateescape"))  # what is not UTF-8 is counted there
        reports.append(str(prepare_texts(files, out / f"text_{lang}", lang, held_out, LIMITS)))
    return "\n".join([*reports, *notes.notes])


def cookies(corpus: Path, lang: str) -> Iterator[str]:
    """The sentences of the fortune cookies of a language; a line that is only `%` ends a cookie, an empty one a paragraph."""
    joint = "" if language_of(lang).unspaced else " "
    for _, data in sorted(package_files(corpus / PACKAGES[lang].file, lambda name: COOKIES.fullmatch(name) is not None)):
        text = data.decode(errors="surrogateescape")
        lines = ["" if line.strip() == "%" or ATTRIBUTION.match(line) else line.strip() for line in text.splitlines()]
        for filled, paragraph in groupby(lines, bool):
            yield from sentences(joint.join(paragraph)) if filled else ()


def handbook(corpus: Path, lang: str) -> Iterator[str]:
    """The sentences of the handbook in a language, without those that are still English in it."""
    english = set(_chapters(corpus, "en"))
    yield from (sentence for sentence in _chapters(corpus, lang) if sentence not in english)


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph."""
    return [sentence for sentence in map(str.strip, ENDS.split(paragraph)) if sentence]


def _chapters(corpus: Path, lang: str) -> Iterator[str]:
    folder = f"usr/share/doc/debian-handbook/html/{CHAPTERS[lang]}/"
    pages = package_files(corpus / PACKAGES["handbook"].file, lambda name: name.startswith(folder) and name.endswith(".html"))
    for _, data in sorted(pages):
        page = Paragraphs()
        page.feed(data.decode())
        for paragraph in page.texts:
            yield from sentences(" ".join(paragraph.split()))


class Paragraphs(HTMLParser):
    """Collects the paragraphs of a page of the handbook, `<div class="para">`, in `texts`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._depth = 0  # of nested divs since the paragraph began

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "div" and ("class", "para") in attrs and not self._depth:
            self.texts.append("")
        if tag == "div" and (self._depth or ("class", "para") in attrs):
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "div" and self._depth > 0

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.texts[-1] += data
