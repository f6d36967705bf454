"""Joins data directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m2asr.data.directory import may_lack, read_tables, reference_of, replace_data_dir
from m2asr.errors import UserError


def combine(folders: Sequence[str | Path], out: str | Path) -> int:
    """Join data directories; returns the number of utterances.

    Some directories may lack translations and codes; a recording may be in more than one, if its file is the same. Raises UserError if some
    directory lacks another file, or an id is in two directories.
    """
    directories = {Path(folder): read_tables(folder) for folder in folders}
    joined: dict[str, dict[str, str]] = {}
    for folder, tables in directories.items():
        for other_folder, other_tables in directories.items():
            for name in sorted(other_tables.keys() - tables.keys()):
                if not may_lack(name):
                    raise UserError(f"{folder}: has no {name}, {other_folder} has one; make them alike first")
        for name, table in tables.items():
            joined_table = joined.setdefault(name, {})
            duplicates = table.keys() & joined_table.keys()
            if name == "wav.scp" and "segments" in tables:
                duplicates = {recording for recording in duplicates if table[recording] != joined_table[recording]}
            if duplicates:
                text = f"another directory has this id too ({len(duplicates)} ids); rename or drop them"
                raise UserError(f"{folder / name}: {min(duplicates)}: {text}")
            joined_table.update(table)
    replace_data_dir(out, joined, folders)
    return len(joined[reference_of(joined)])
