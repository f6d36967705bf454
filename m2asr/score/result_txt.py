"""Files for people to read after scoring: trn, and result.txt with aligned errors as sclite writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from m2asr.errors import UserError
from m2asr.files import open_atomic, read_text
from m2asr.score.error_rate import Errors


def write_trn(path: Path, utts: Sequence[str], texts: Sequence[str]) -> None:
    """Write `text (utterance)` lines."""
    with open_atomic(path) as file:
        file.writelines(f"{text} ({utt})\n" for utt, text in zip(utts, texts, strict=True))


def read_trn(path: Path) -> tuple[list[str], list[str]]:
    """Utterances and texts of a file of write_trn. Raises UserError if it is missing or no text, or if a line is wrong."""
    if not path.is_file():
        raise UserError(f"{path}: missing; run stage 6 (score)")
    utts, texts = [], []
    lines = read_text(path).split("\n")  # not splitlines, which also splits at U+2028 and similar characters in a text
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, 1):
        match = re.fullmatch(r"(.*) \(([^ ]+)\)", line)
        if match is None:
            raise UserError(f"{path}:{number}: not a line `text (utterance)`; run stage 6 (score) again")
        texts.append(match[1])
        utts.append(match[2])
    return utts, texts


def write_result(path: Path, utts: Sequence[str], speakers: Sequence[str], errors: Errors) -> None:
    """Write a summary per speaker, then every utterance with its reference and hypothesis aligned."""
    with open_atomic(path) as file:
        file.writelines(line + "\n" for line in _summary(speakers, errors))
        for row, utt in enumerate(utts):
            substitutions, deletions, insertions, total = errors.counts[row]
            correct = total - substitutions - deletions
            file.write(f"\nid: ({utt})\nScores: (#C #S #D #I) {correct} {substitutions} {deletions} {insertions}\n")
            columns = list(_columns(errors, row))
            for label, index in (("REF:  ", 0), ("HYP:  ", 1), ("Eval: ", 2)):
                file.write(label + " ".join(column[index] for column in columns).rstrip() + "\n")


def _summary(speakers: Sequence[str], errors: Errors) -> Iterator[str]:
    width = max([len("Sum/Avg"), *map(len, speakers)])
    yield f"| {'SPKR':<{width}} | {'# Snt':>6} {'# Tok':>7} | {'Corr':>6} {'Sub':>6} {'Del':>6} {'Ins':>6} {'Err':>6} {'S.Err':>6} |"
    for name in [*sorted(set(speakers)), "Sum/Avg"]:
        rows = np.array([name in (speaker, "Sum/Avg") for speaker in speakers], dtype=bool)
        counts = errors.counts[rows]
        substitutions, deletions, insertions, total = counts.sum(0)
        share = 100 / max(1, total)
        wrong = 100 * float((counts[:, :3].sum(1) > 0).mean()) if len(counts) else 0.0
        rates = [total - substitutions - deletions, substitutions, deletions, insertions, substitutions + deletions + insertions]
        yield (
            f"| {name:<{width}} | {len(counts):>6} {total:>7} | "
            + " ".join(f"{rate * share:>6.1f}" for rate in rates)
            + f" {wrong:>6.1f} |"
        )


def _columns(errors: Errors, row: int) -> Iterator[tuple[str, str, str]]:
    """Reference, hypothesis and mark of each aligned column, padded to the same width; errors are in capitals."""
    for reference, hypothesis in errors.aligned(row):
        mark = "" if reference == hypothesis else "D" if not hypothesis else "I" if not reference else "S"
        width = max(len(reference), len(hypothesis), 1)
        if mark:
            reference, hypothesis = reference.upper() or "*" * width, hypothesis.upper() or "*" * width
        yield reference.ljust(width), hypothesis.ljust(width), mark.ljust(width)
