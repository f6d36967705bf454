"""Reads transcripts and tables of corpora, line by line, with errors that name file and line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from m2asr.corpora.summary import Summary
from m2asr.errors import UserError
from m2asr.files import open_input

LONGEST = 1 << 24  # characters of a column

_QUOTED = re.compile('"((?:[^"]|"")*)"')


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of every line. Raises UserError if the file cannot be read or a line is not UTF-8."""
    try:
        with open_input(path) as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8").removeprefix("\ufeff" if number == 1 else "").rstrip("\r\n")
    except UserError as error:
        raise UserError(f"{error}; extract or fetch its archive again") from None
    except UnicodeDecodeError as error:
        advice = "fetch the file again, or save it as UTF-8"
        raise UserError(f"{path}:{number}: not UTF-8 ({error.reason} at byte {error.start}); {advice}") from None


class UniqueIds:
    """The ids read so far, from one or more files, with the file:line of each."""

    def __init__(self, summary: Summary) -> None:
        self.summary, self.locations = summary, {}

    def add(self, key: str, location: str) -> bool:
        """Add an id; returns whether it is new. A repeated id counts as bad."""
        if key in self.locations:
            self.summary.bad(f"{location}: {key}: this id was already in {self.locations[key]}; fetch the files again")
            return False
        self.locations[key] = location
        return True


def transcripts(path: Path, ids: UniqueIds) -> Iterator[tuple[str, str, str]]:
    """file:line, id and text of every line `id text`, with a space or tab between; repeated ids and lines without text are bad."""
    for number, line in text_lines(path):
        key, *text = line.split(None, 1) if line.strip() else ("",)
        location = f"{path}:{number}"
        if not text:
            ids.summary.bad(f"{location}: {key or 'an empty line'}: no text; fetch the file again")
        elif ids.add(key, location):
            yield location, key, text[0].strip()


def tsv_rows(path: Path, columns: Sequence[str], summary: Summary, quotes: bool = False) -> Iterator[tuple[str, dict[str, str]]]:
    """file:line and {column: value} of every row of a TSV with a header; `columns` must be in it.

    A backslash escapes the next character, as in the tables of Common Voice and CoVoST. Rows that are shorter or longer than the
    header are bad. With `quotes` the table may be that of a spreadsheet, which puts fields into quotes and doubles those inside: all fields
    if the names of the columns are in quotes, or else those with quotes inside. Raises UserError for columns that are missing.
    """
    lines = text_lines(path)
    rows = csv.reader((line for _, line in lines), delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\")
    csv.field_size_limit(LONGEST)
    header = next(_rows(rows, path), [])
    unquote = partial(_unquoted, everywhere=all(map(_QUOTED.fullmatch, header))) if quotes else str
    header = [*map(unquote, header)]
    if twice := [name for name in header if header.count(name) > 1]:
        raise UserError(f"{path}:1: two columns are called `{twice[0]}`; rename or remove one")
    if missing := [name for name in columns if name not in header]:
        raise UserError(f"{path}:1: no column {', '.join(missing)} in its header ({', '.join(header[:12])}): another version of the file?")
    for row in _rows(rows, path):
        if len(row) != len(header):
            advice = "correct this line; a field can hold neither tabs nor line ends" if quotes else "fetch the file again"
            summary.bad(f"{path}:{rows.line_num}: {len(row)} columns where the header has {len(header)}; {advice}")
        else:
            yield f"{path}:{rows.line_num}", dict(zip(header, map(unquote, row), strict=True))


def _rows(rows: Any, path: Path) -> Iterator[list[str]]:
    """The rows of a csv.reader. Raises UserError (file:line) where it cannot read on."""
    try:
        yield from rows
    except csv.Error as error:
        raise UserError(f"{path}:{rows.line_num}: {error}; fetch the file again") from None


def _unquoted(field: str, everywhere: bool) -> str:
    match = _QUOTED.fullmatch(field)
    return match[1].replace('""', '"') if match and (everywhere or '""' in field) else field
