"""Finds the folder and the parts of a corpus, and names what to fetch if they are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from m2asr.config import nearest
from m2asr.corpora.summary import Summary
from m2asr.errors import UserError


def find_root(corpus: Path, subfolders: Sequence[str], expected: Sequence[str], description: str) -> Path:
    """The first of `corpus` and its `subfolders` that contains one of the files or folders `expected`.

    Raises UserError that names the expected names and those that are there; `description` names the corpus and its source.
    """
    for root in (corpus, *(corpus / name for name in subfolders)):
        if any((root / name).exists() for name in expected):
            return root
    content = ", ".join(sorted(path.name for path in corpus.iterdir())[:8]) or "nothing"
    missing = ", ".join(expected[:4]) + (" ..." if len(expected) > 4 else "")
    searched = "".join(f", nor in {name}/" for name in subfolders)
    raise UserError(f"--corpus {corpus}: none of {missing} is in it{searched}; it holds {content}; give the folder of {description}")


def pick_parts(requested: Sequence[str], valid: Sequence[str]) -> list[str]:
    """The requested parts, or else all valid ones. Raises UserError for an unknown part."""
    for part in requested:
        if part not in valid:
            raise UserError(f"--parts {part}: no such part; {nearest(part, valid)}", exit_code=2)
    return list(dict.fromkeys(requested or valid))


def choose_parts(
    requested: Sequence[str], valid: Sequence[str], is_present: Callable[[str], bool], fetch: Callable[[str], str], summary: Summary
) -> list[str]:
    """The requested parts, or else all that are present; a note says for each missing part what to fetch.

    Raises UserError for an unknown part, and for a requested part that is missing.
    """
    chosen = []
    for part in pick_parts(requested, valid):
        if is_present(part):
            chosen.append(part)
        elif requested:
            raise UserError(f"--parts {part}: it is not there; fetch {fetch(part)}")
        else:
            summary.note(f"not there: {part}; to have it, fetch {fetch(part)}")
    return chosen


def need(path: Path, remedy: str) -> Path:
    """Return `path` if it exists. Raises UserError with the remedy otherwise."""
    if not path.exists():
        raise UserError(f"{path}: not found; {remedy}")
    return path
