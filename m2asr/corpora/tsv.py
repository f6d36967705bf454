"""The user's own recordings: each table, train.tsv, dev.tsv ..., becomes the data directory of its name.

Columns, named in the first line: path (of the recording, from the table's folder), speaker, lang (such as it or zh-CN), text (none in a
table of unlabelled recordings), text.<language> for translations, and start and end in seconds where a recording holds several utterances.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from m2asr.corpora.parts import choose_parts
from m2asr.corpora.sets import CorpusUtterance, measured, seconds_of, write_sets
from m2asr.corpora.summary import Summary
from m2asr.corpora.tables import UniqueIds, tsv_rows
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.language import CODE
from m2asr.text.normalize import normalize

NEEDED = ("path", "speaker", "lang")
KNOWN = ("text", "start", "end")
RECORDINGS = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph"}


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write a set per table of `corpus`; parts are names of tables without .tsv.

    Ids are made of speaker and path, and of start and end if the table has them. Raises UserError naming the file and line of a mistake.
    """
    tables = {path.stem: path for path in sorted(corpus.glob("*.tsv"))}
    if not tables:
        raise UserError(f"--corpus {corpus}: no *.tsv in it; write train.tsv, dev.tsv, test.tsv with columns {', '.join(NEEDED)}, text")
    summary = Summary(max_bad=max_bad)
    chosen = choose_parts(parts, list(tables), lambda name: True, lambda name: f"{name}.tsv", summary)
    summary.expect(chosen, required=bool(parts))
    recordings: set[str] = set()
    rows = (row for name in chosen for row in _rows(name, tables[name], recordings, summary))
    write_sets(out, _read_utterances(rows, summary), summary)
    if len(chosen) == len(tables):
        for path in sorted(corpus.rglob("*")):
            if path.suffix.lower() in RECORDINGS and os.path.normpath(path) not in recordings:
                summary.drop("recordings that no table names", str(path))
    return summary


def _rows(name: str, table: Path, recordings: set[str], summary: Summary) -> Iterator[tuple[str, str, Path, dict[str, str]]]:
    """Set, file:line, recording and columns of every row with valid required columns; adds the recordings of all rows to `recordings`."""
    for location, row in tsv_rows(table, NEEDED, summary, quotes=True):
        recordings.add(os.path.normpath(table.parent / row["path"]))
        if unknown := [column for column in row if column not in (*NEEDED, *KNOWN) and not _is_translation(column)]:
            raise UserError(f"{table}:1: unknown column {unknown[0]}; valid: {', '.join((*NEEDED, *KNOWN))}, text.<language>")
        invalid = [column for column in ("path", "text") if not row.get(column, "-").strip()]
        if invalid or not re.fullmatch(r"\S+", row["speaker"]):
            summary.bad(f"{location}: the column `{(*invalid, 'speaker')[0]}` is empty or holds a space; correct this line")
        elif not CODE.fullmatch(row["lang"]):
            summary.bad(f"{location}: the column `lang` holds `{row['lang']}`, no language code like it or zh-CN; correct this line")
        else:
            yield name, location, table.parent / row["path"], row


def _is_translation(column: str) -> bool:
    return column.startswith("text.") and CODE.fullmatch(column[5:]) is not None


def _read_utterances(rows: Iterator[tuple[str, str, Path, dict[str, str]]], summary: Summary) -> Iterator[CorpusUtterance]:
    ids = UniqueIds(summary)
    for (name, location, wav, row), length in measured(rows, lambda row: str(row[2])):
        if isinstance(length, str):
            summary.bad(f"{location}: {length}")
            continue
        recording = re.sub(r"[^\w.]+", "-", str(Path(row["path"]).with_suffix(""))).strip("-")
        utterance = Utterance(f"{row['speaker']}-{recording}", row["speaker"], row["lang"], str(wav), length)
        if "start" in row or "end" in row:
            span = _span(row, length)
            if span is None:
                summary.bad(f"{location}: `start` and `end` are not inside its {length:.2f} s; write seconds, start < end")
                continue
            utterance.id += f"-{round(1000 * span[0]):07d}-{round(1000 * sum(span)):07d}"
            utterance.recording, (utterance.start, utterance.seconds) = recording, span
        if ids.add(utterance.id, location):
            utterance.text = normalize(row["text"], row["lang"]) if "text" in row else None
            translations = {key[5:]: " ".join(text.split()) for key, text in row.items() if key.startswith("text.")}
            utterance.translations = {lang: text for lang, text in translations.items() if text}
            yield CorpusUtterance(location, (name,), utterance)


def _span(row: Mapping[str, str], length: float) -> tuple[float, float] | None:
    """Start and length of a segment in seconds; an empty start is 0, an empty end is the end of the recording."""
    try:
        start, end = float(row.get("start") or 0), float(row.get("end") or length)
    except ValueError:
        return None
    seconds = seconds_of(start, end, length)
    return None if seconds is None else (start, seconds)
