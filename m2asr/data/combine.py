"""Several data directories as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m2asr.data.directory import read_tables, replace_data_dir
from m2asr.errors import UserError


def combine(folders: Sequence[str | Path], out: str | Path) -> int:
    """Join data directories; returns the number of utterances.

    Translations may be in some only; a recording may be in several, if its file is the same. Raises UserError where another file is
    not in all of them, or an id is in two.
    """
    found = {Path(folder): read_tables(folder) for folder in folders}
    joined: dict[str, dict[str, str]] = {}
    for folder, tables in found.items():
        for other, theirs in found.items():
            for name in sorted(theirs.keys() - tables.keys()):
                if not name.startswith("text."):
                    raise UserError(f"{folder}: has no {name}, {other} has one; make them alike first")
        for name, table in tables.items():
            known = joined.setdefault(name, {})
            both = table.keys() & known.keys()
            if name == "wav.scp" and "segments" in tables:
                both = {recording for recording in both if table[recording] != known[recording]}
            if both:
                raise UserError(f"{folder / name}: {min(both)}: another directory has this id too ({len(both)} ids); rename or drop them")
            known.update(table)
    replace_data_dir(out, joined)
    return len(joined["utt2spk"])
