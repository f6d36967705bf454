"""The problems of a data directory, counted by kind, each with file and line, and advice."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SHOWN = 3  # examples per kind of problem
FIX = "python -m m2asr.bin.fix_data_dir"

# fix_data_dir sorts, drops lines, makes text and spk2utt anew
MENDED = ("cut off", "byte order mark", "not UTF-8", "malformed line", "duplicate id", "not sorted", "missing id", "unknown id",
          "unused recording", "contradiction", "text not normalized")  # fmt: skip
UNUSABLE = ("bad speaker", "bad duration", "bad language", "empty text", "bad segment", "too short")  # fix_data_dir drops such utterances
UNHEARD = ("unreadable audio", "sample rate", "wrong duration", "segment outside")  # fix_data_dir --check_wav drops such utterances
MADE = ("utt2lang", "utt2dur", "spk2utt")  # files that fix_data_dir makes
LONG_TEXT = "text too long"
WRONG_CODES = "wrong codes"
MISSING = "missing file"


def first_of(examples: Sequence[object], count: int) -> list[str]:
    """Lines with the first of `count` examples, and the number of the others."""
    return [f"  {example}" for example in examples[:SHOWN]] + ([f"  ... and {count - SHOWN} more"] if count > SHOWN else [])


class Problem(NamedTuple):
    """A problem: file, line (None for the file as such), id, and message."""

    file: Path
    line: int | None
    utt: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.utt}: {self.message}"


class Report:
    """Every problem by kind; `str` counts them, shows the first of each kind as file:line: id: message, and advises how to repair them."""

    def __init__(self, folder: Path, tolerated: frozenset[str] = frozenset()) -> None:
        self.folder, self.tolerated = folder, tolerated  # kinds that are reported but leave the directory clean
        self.problems: dict[str, list[Problem]] = defaultdict(list)
        self.utterances = 0
        self.options = ""  # that the advised commands need too

    def name_options(self, config: str | None, allow_pipes: bool) -> None:
        """Have the advised commands read recordings as this one did: with its fbank config, and commands in wav.scp where it ran them."""
        self.options = f" --config {shlex.quote(config)}" * bool(config) + " --allow_pipes" * allow_pipes

    def add(self, kind: str, file: str, line: int | None, utt: str, message: str) -> None:
        """Add a problem."""
        self.problems[kind].append(Problem(self.folder / file, line, utt, message))

    @property
    def clean(self) -> bool:
        """Whether there are no problems but tolerated ones."""
        return not self.problems.keys() - self.tolerated

    def __str__(self) -> str:
        if not self.problems:
            return f"{self.folder}: {self.utterances} utterances, no problem"
        lines = [f"{self.folder}: {sum(map(len, self.problems.values()))} problems in {self.utterances} utterances"]
        for kind, problems in self.problems.items():
            lines.append(f"{kind}: {len(problems)}{' (tolerated)' if kind in self.tolerated else ''}")
            lines += first_of(problems, len(problems))
        return "\n".join([*lines, *self._remedies()])

    def _remedies(self) -> list[str]:
        """Lines of advice, commands first."""
        kinds = self.problems.keys() - self.tolerated
        lines = []
        missing = {problem.file.name for problem in self.problems.get(MISSING, [])}
        if made := missing & {*MADE}:
            lang = " --lang CODE" if "utt2lang" in made else ""
            lines.append(f"{FIX}{lang}{self.options} {self.folder} makes {', '.join(sorted(made))}")
        if kinds & {*MENDED, *UNUSABLE}:
            lines.append(f"repair it with: {FIX}{self.options} {self.folder}")
        if kinds & {*UNHEARD}:
            lines.append("restore the recordings (relative paths start from the current folder); drop those that stay bad with: "
                         f"{FIX} --check_wav{self.options} {self.folder}")  # fmt: skip
        if LONG_TEXT in kinds:
            lines.append("texts too long for CTC: take larger tokens, or upsampling: 2 in the objective and --subsampling 2 here, "
                         "or accept them with --keep_long_text")  # fmt: skip
        if WRONG_CODES in kinds:
            lines.append("codes of other audio or of another codebook: write them again with m2asr.bin.codes --codebook, "
                         "or remove text.codes and utt2codes")  # fmt: skip
        if kinds - {*MENDED, *UNUSABLE, *UNHEARD, LONG_TEXT, WRONG_CODES, MISSING} or missing - {*MADE}:
            lines.append("only stage 0 (data) can repair what is missing, and ids without their speaker: run it again")
        return lines
