"""Error rates over training time of two systems: their curves as tables, and the time in which one reaches the error rate of the other."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.score.error_rate import character_errors
from m2asr.score.evaluate import match
from m2asr.text.normalize import normalize

BAR = 1 / 8  # most time, as a share of the other system's training time


@dataclass(frozen=True)
class Point:
    """A model of a training: CPU seconds of training up to it, its character error rate on the dev sets (a share), and its name."""

    seconds: float
    error: float
    model: str


def dev_error(hypotheses: Mapping[str, str], sets: Sequence[str], data: Path, min_words: int, path: Path) -> float:
    """The mean over the sets of their corpus character error rates, with the normalization and the references of stage 6 (score).

    Raises UserError where an utterance of the sets has no hypothesis. `path`, the file of the hypotheses, is named in its message.
    """
    rates = []
    for name in sets:
        langs = read_table(data / name / "utt2lang")
        pairs = match(read_table(data / name / "text"), hypotheses, {}, "", min_words, path, langs)
        references, normalized = (list(map(normalize, texts, pairs.langs)) for texts in (pairs.references, pairs.hypotheses))
        rates.append(character_errors(references, normalized).rate)
    return statistics.fmean(rates)


def mean_point(points: Sequence[Point]) -> Point:
    """The mean of the same model trained with several seeds."""
    return Point(statistics.fmean(p.seconds for p in points), statistics.fmean(p.error for p in points), points[0].model)


def first_to_reach(curve: Sequence[Point], error: float) -> Point | None:
    """The cheapest point with this error or less; None where there is none."""
    return min((point for point in curve if point.error <= error), key=lambda point: point.seconds, default=None)


def verdict(theirs: Sequence[Point], ours: Sequence[Point], version: str) -> str:
    """Describe in one line the lowest error of ESPnet's run, our cheapest complete training that reaches it, and the ratio of times."""
    total, best = max(point.seconds for point in theirs), min(theirs, key=lambda point: point.error)
    line = f"ESPnet {version}: dev CER {best.error:.3f} after {total:.0f} s ({best.model})"
    if not ours:
        return line
    reached = first_to_reach(ours, best.error)
    if reached is None:
        closest = min(ours, key=lambda point: point.error)
        return f"{line}; m2asr: not reached, {closest.error:.3f} after {closest.seconds:.0f} s ({closest.model}): MISSED"
    ratio = reached.seconds / total
    result = "ok" if ratio <= BAR else "MISSED"
    return f"{line}; m2asr: {reached.error:.3f} after {reached.seconds:.0f} s ({reached.model}); ratio {ratio:.3f} (bar {BAR}: {result})"


def write_curve(path: Path, curve: Sequence[Point]) -> None:
    """Write the points in the order of their times as CSV: seconds, cer, model."""
    with open_atomic(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["seconds", "cer", "model"])
        rows.writerows([f"{p.seconds:.1f}", f"{p.error:.4f}", p.model] for p in sorted(curve, key=lambda point: point.seconds))


def read_curve(path: Path) -> list[Point]:
    """Read the points that `write_curve` wrote. Raises UserError where the file is damaged."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return [Point(float(row["seconds"]), float(row["cer"]), row["model"]) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a curve ({error}); remove it and run this again") from None
