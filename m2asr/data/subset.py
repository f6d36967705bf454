"""Makes a subset of a data directory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from m2asr.data.directory import read_tables, reference_of, replace_data_dir, select
from m2asr.errors import UserError


def subset(folder: str | Path, out: str | Path, keep: Iterable[str] | int) -> int:
    """Write some utterances of a data directory, those with the ids `keep` or the first `keep`, to another one; returns their number.

    Raises UserError for ids that the directory does not have, and for an empty subset.
    """
    tables = read_tables(folder)
    utts = sorted(tables[reference_of(tables)], key=str.encode)
    chosen = set(utts[:keep] if isinstance(keep, int) else keep)
    unknown = sorted(chosen.difference(utts))
    if unknown:
        raise UserError(f"{folder}: {unknown[0]}: no such utterance ({len(unknown)} unknown ids); correct the list of ids")
    if not chosen:
        raise UserError(f"{out}: the subset would be empty; choose at least one utterance")
    replace_data_dir(out, select(tables, chosen), [folder])
    return len(chosen)
