"""Recordings of one's own: a table per set, train.tsv, dev.tsv ..., which becomes the data directory of that name.

Columns, named in the first line: path (of the recording, from the table's folder), speaker, lang (ISO 639-1), text (none in a table of
unlabelled recordings), text.<language> for translations, and start and end in seconds where a recording holds several utterances.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from m2asr.corpora.parts import choose_parts
from m2asr.corpora.sets import Found, measured, seconds_of, write_sets
from m2asr.corpora.summary import Summary
from m2asr.corpora.tables import Once, tsv_rows
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

NEEDED = ("path", "speaker", "lang")
KNOWN = ("text", "start", "end")
RECORDINGS = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph"}


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write a set per table of `corpus`; parts are names of tables without .tsv.

    Ids are made of speaker and path, and of start and end where they are given. Raises UserError naming what is missing or wrong.
    """
    tables = {path.stem: path for path in sorted(corpus.glob("*.tsv"))}
    if not tables:
        raise UserError(f"--corpus {corpus}: no *.tsv in it; write train.tsv, dev.tsv, test.tsv with columns {', '.join(NEEDED)}, text")
    summary = Summary(max_bad=max_bad)
    chosen = choose_parts(parts, list(tables), lambda name: True, lambda name: f"{name}.tsv", summary)
    summary.expect(chosen, asked=bool(parts))
    named: set[str] = set()
    rows = (row for name in chosen for row in _rows(name, tables[name], named, summary))
    write_sets(out, _found(rows, summary), summary)
    if len(chosen) == len(tables):
        for path in sorted(corpus.rglob("*")):
            if path.suffix.lower() in RECORDINGS and os.path.normpath(path) not in named:
                summary.drop("recordings that no table names", str(path))
    return summary


def _rows(name: str, table: Path, named: set[str], summary: Summary) -> Iterator[tuple[str, str, Path, dict[str, str]]]:
    """Set, file:line, recording and columns of every row whose needed columns are filled; the recordings of all are noted in `named`."""
    for place, row in tsv_rows(table, NEEDED, summary):
        named.add(os.path.normpath(table.parent / row["path"]))
        if unknown := [column for column in row if column not in (*NEEDED, *KNOWN) and not re.fullmatch(r"text\.[a-z]{2,3}", column)]:
            raise UserError(f"{table}:1: unknown column {unknown[0]}; valid: {', '.join((*NEEDED, *KNOWN))}, text.<language>")
        wrong = [column for column in ("speaker", "lang") if not re.fullmatch(r"\S+", row[column])]
        wrong += [column for column in ("path", "text") if not row.get(column, "-").strip()]
        if wrong:
            summary.bad(f"{place}: the column `{wrong[0]}` is empty or holds a space; correct this line")
        else:
            yield name, place, table.parent / row["path"], row


def _found(rows: Iterator[tuple[str, str, Path, dict[str, str]]], summary: Summary) -> Iterator[Found]:
    once = Once(summary)
    for (name, place, wav, row), length in measured(rows, lambda row: str(row[2])):
        if isinstance(length, str):
            summary.bad(f"{place}: {length}")
            continue
        recording = re.sub(r"[^\w.]+", "-", str(Path(row["path"]).with_suffix(""))).strip("-")
        one = Utterance(f"{row['speaker']}-{recording}", row["speaker"], row["lang"], str(wav), length)
        if "start" in row or "end" in row:
            span = _span(row, length)
            if span is None:
                summary.bad(f"{place}: `start` and `end` are no stretch of its {length:.2f} s; write seconds, start < end")
                continue
            one.id += f"-{round(1000 * span[0]):07d}-{round(1000 * sum(span)):07d}"
            one.recording, (one.start, one.seconds) = recording, span
        if once.first(one.id, place):
            one.text = normalize(row["text"], row["lang"]) if "text" in row else None
            one.translations = {key[5:]: " ".join(text.split()) for key, text in row.items() if key.startswith("text.") and text.strip()}
            yield Found(place, (name,), one)


def _span(row: Mapping[str, str], length: float) -> tuple[float, float] | None:
    """Start and seconds of a stretch; an empty start is 0, an empty end that of the recording."""
    try:
        start, end = float(row.get("start") or 0), float(row.get("end") or length)
    except ValueError:
        return None
    seconds = seconds_of(start, end, length)
    return None if seconds is None else (start, seconds)
