"""Tells which folders may be replaced: those that this toolkit made and nobody added anything to. A mark in each of them says so."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from m2asr.errors import UserError

MARK = ".m2asr"  # in a folder that this toolkit made: its kind, then the names that were written into it, one a line
Kind = Literal["a data directory", "features", "a tokenizer", "an alignment", "recordings", "a run"]
FILES = "files"  # the kind of a folder of others, into which this toolkit has written files: it is never replaced


def check_replaceable(path: Path, kind: Kind) -> None:
    """Raise UserError unless `path` is missing, empty, or a folder of this kind that holds nothing but what this toolkit wrote."""
    if not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"{path}: it is a file, and {kind} would replace it; choose another path")
    names = {name for name in os.listdir(path) if not _is_temporary(name)}
    if not names:
        return
    held, written = read_mark(path)
    if held is None:
        raise UserError(f"{path}: this toolkit did not make this folder, so {kind} does not replace it; choose another, or move it away")
    if held != kind:
        raise UserError(f"{path}: it holds {held}, and {kind} would replace it; choose another folder")
    if foreign := sorted(names - written):
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise UserError(f"{path}: this toolkit did not write {foreign[0]}{more} in it, and it would be lost; move it away first")


def check_different(target: Path, sources: list[Path]) -> None:
    """Raise UserError if `target`, which is to be written, is one of the folders that are read for it."""
    for source in sources:
        if target.exists() and source.exists() and os.path.samefile(target, source):
            raise UserError(f"{target}: it would be written from {source}, which is the same folder; give another folder to write")


def read_mark(folder: Path) -> tuple[str | None, set[str]]:
    """The kind of a folder that this toolkit made, None for another one, and the names that were written into it.

    Raises UserError if the mark is a folder or a pipe, which this toolkit did not make.
    """
    if (folder / MARK).exists() and not (folder / MARK).is_file():
        raise UserError(f"{folder / MARK}: it is no file, so what may be replaced here is not known; remove it")
    try:
        kind, *names = (folder / MARK).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # no mark, or an empty one
        return None, set()
    return kind, {MARK, *names}


def mark(folder: Path, kind: str, without: Collection[str] = ()) -> None:
    """Note in a new folder its kind and what it holds, but for names that others wrote."""
    names = sorted(name for name in os.listdir(folder) if name != MARK and name not in without)
    (folder / MARK).write_text("".join(f"{line}\n" for line in (kind, *names)), encoding="utf-8")


def note(folder: Path, name: str) -> None:
    """Note that this toolkit writes `name` into a folder; in a folder that it did not make, nothing is noted."""
    if read_mark(folder)[0] is not None and not (folder / name).exists():
        claim(folder, [name])


def claim(folder: Path, names: Sequence[str]) -> None:
    """Note that this toolkit writes these files into a folder, which may hold files of others.

    Raises UserError if one of them exists and this toolkit did not write it.
    """
    kind, written = read_mark(folder)
    for name in names:
        if name not in written and (folder / name).exists():
            raise UserError(f"{folder / name}: this toolkit did not write this file, so it is not replaced; move it away")
    if new := [name for name in names if name not in written]:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / MARK, "a", encoding="utf-8") as file:  # whole lines, so processes may append at the same time
            file.writelines(f"{line}\n" for line in ([FILES, *new] if kind is None else new))


def _is_temporary(name: str) -> bool:
    """Whether a file was left behind by `open_atomic` in a process that was killed."""
    return name.startswith(".") and name.endswith(".tmp")
