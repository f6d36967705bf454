"""Problems of a data directory, counted by kind, each with a place, and what to do about them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

SHOWN = 3  # examples per kind of problem
FIX = "python -m m2asr.bin.fix_data_dir"

MENDED = ("cut off", "not UTF-8", "malformed line", "duplicate id", "not sorted", "missing id", "unknown id", "unused recording",
          "contradiction", "text not normalized")  # fmt: skip - by sorting, dropping lines, and making text and spk2utt anew
UNUSABLE = ("bad speaker", "bad duration", "bad language", "empty text", "bad segment")  # such utterances are dropped
UNHEARD = ("unreadable audio", "sample rate", "wrong duration")  # such utterances are dropped where the recordings are checked
LONG_TEXT = "text too long"


class Problem(NamedTuple):
    """One problem: file and line (None where no line is meant), the id, what is wrong."""

    file: Path
    line: int | None
    utt: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.utt}: {self.what}"


class Report:
    """Every problem by kind; `str` counts them, shows the first of each kind as file:line: id: what, and says what mends them."""

    def __init__(self, folder: Path, tolerated: frozenset[str] = frozenset()) -> None:
        self.folder, self.tolerated = folder, tolerated  # kinds that are told but do not make the directory unclean
        self.found: dict[str, list[Problem]] = defaultdict(list)
        self.utterances = 0

    def add(self, kind: str, file: str, line: int | None, utt: str, what: str) -> None:
        """Note one problem."""
        self.found[kind].append(Problem(self.folder / file, line, utt, what))

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong but what is tolerated."""
        return not self.found.keys() - self.tolerated

    def __str__(self) -> str:
        if not self.found:
            return f"{self.folder}: {self.utterances} utterances, no problem"
        lines = [f"{self.folder}: {sum(map(len, self.found.values()))} problems in {self.utterances} utterances"]
        for kind, problems in self.found.items():
            lines.append(f"{kind}: {len(problems)}{' (tolerated)' if kind in self.tolerated else ''}")
            lines += [f"  {problem}" for problem in problems[:SHOWN]]
            if len(problems) > SHOWN:
                lines.append(f"  ... and {len(problems) - SHOWN} more")
        return "\n".join([*lines, *self._remedies()])

    def _remedies(self) -> list[str]:
        """What to do, the commands first."""
        found = self.found.keys() - self.tolerated
        lines = []
        if found & {*MENDED, *UNUSABLE}:
            lines.append(f"mend it with: {FIX} {self.folder}")
        if found & {*UNHEARD}:
            lines.append("restore the recordings (relative paths start from the current folder); drop those that stay bad with: "
                         f"{FIX} --check_wav {self.folder}")  # fmt: skip
        if LONG_TEXT in found:
            lines.append("texts too long for CTC: take larger tokens or less subsampling, or accept them with --keep_long_text")
        if found - {*MENDED, *UNUSABLE, *UNHEARD, LONG_TEXT}:
            lines.append("what is missing, and ids without their speaker, only the preparation can mend: run stage 0 (data) again")
        return lines
