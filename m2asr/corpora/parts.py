"""Which parts of a corpus are there, and what to fetch where one is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from m2asr.config import nearest
from m2asr.corpora.summary import Summary
from m2asr.errors import UserError


def find_root(corpus: Path, below: Sequence[str], holds: Sequence[str], what: str) -> Path:
    """`corpus` or a folder of it named in `below`, the first in which one of `holds` is.

    Raises UserError that tells what was looked for and what is there; `what` names the corpus and says where it comes from.
    """
    for root in (corpus, *(corpus / name for name in below)):
        if any((root / name).exists() for name in holds):
            return root
    there = ", ".join(sorted(path.name for path in corpus.iterdir())[:8]) or "nothing"
    names = ", ".join(holds[:4]) + (" ..." if len(holds) > 4 else "")
    inside = "".join(f", nor in {name}/" for name in below)
    raise UserError(f"--corpus {corpus}: none of {names} is in it{inside}; it holds {there}; give the folder of {what}")


def pick_parts(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """The parts that were asked for, or else all. Raises UserError for an unknown one."""
    for part in wanted:
        if part not in known:
            raise UserError(f"--parts {part}: no such part; {nearest(part, known)}", exit_code=2)
    return list(dict.fromkeys(wanted or known))


def choose_parts(
    wanted: Sequence[str], known: Sequence[str], there: Callable[[str], bool], fetch: Callable[[str], str], summary: Summary
) -> list[str]:
    """The parts that were asked for, or else all that are there; the others are noted with what to fetch.

    Raises UserError for an unknown part, and for one that was asked for and is not there.
    """
    chosen = []
    for part in pick_parts(wanted, known):
        if there(part):
            chosen.append(part)
        elif wanted:
            raise UserError(f"--parts {part}: it is not there; fetch {fetch(part)}")
        else:
            summary.note(f"not there: {part}; to have it, fetch {fetch(part)}")
    return chosen


def need(path: Path, remedy: str) -> Path:
    """`path`, which must exist. Raises UserError that says what to do."""
    if not path.exists():
        raise UserError(f"{path}: not found; {remedy}")
    return path
