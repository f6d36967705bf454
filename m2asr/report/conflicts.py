"""A summary of a run's conflicts from its train.jsonl: which objectives fight, where, and how it changed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from m2asr.errors import UserError
from m2asr.report import conflict_verdicts
from m2asr.report.conflict_stats import Cosines, knows_noise
from m2asr.report.log import read_log
from m2asr.report.tables import PERIODS, table_head, table_row

UNTOLD = (
    "The noise was not measured in this run, whose log is older than that: nobody can tell which of these cosines differ from 0 by more "
    "than chance, nor which of them are due to a batch that two objectives share."
)
SIGNAL = "Signal: cosine of each gradient with itself (self), between two halves of the speech of a step"
DEVIATION = "largest deviation of a lambda from the exact one"
Pair = tuple[str, str]


def summarize(exp: Path) -> str:
    """Markdown: the verdict, pairs of objectives, layers, gradients and weights, each for three periods of the run.

    What counts is beyond the noise of batches, where the log knows it; a log that does not is older, and the report says so.

    Raises UserError where the run measured no conflicts, as under static weights.
    """
    lines = [line for line in read_log(exp) if line["kind"] == "train"]
    measured = [line for line in lines if line.get("conflict")]
    if not measured:
        reason = "there is no training step yet" if not lines else "weights that do not look at every gradient measure none"
        raise UserError(f"{exp / 'train.jsonl'}: no conflicts were measured: {reason}; run it with `train: {{conflicts: true}}`")
    periods = _thirds(measured)
    head = [f"# {exp.name}: conflicts", ""]
    count = f"{len(measured)} steps measured, {measured[0]['step']} to {measured[-1]['step']}."
    parts = _above_noise(measured, periods, count) if knows_noise(measured) else _with_noise(periods, count)
    parts += [
        ["", "## Objectives: length of the gradient, weight lambda, loss", "", *_objectives(periods)],
        ["", "## The merged gradient", "", *_merged(periods)],
    ]
    return "\n".join(line for part in [head, *parts] for line in part) + "\n"


def _above_noise(measured: Sequence[dict], periods: Sequence[Sequence[dict]], count: str) -> list[list[str]]:
    cosines, parts = Cosines(measured), [Cosines(period) for period in periods]
    layers = list(dict.fromkeys(layer for line in measured for layer in line["conflict"]["rate"]))
    return [
        [*conflict_verdicts.verdict(cosines, parts), "", count, "", conflict_verdicts.READING],
        ["", "## Pairs", "", *conflict_verdicts.pairs(cosines, parts)],
        [
            "",
            "## Signal: cosine of each gradient with itself, between two halves of a step's speech (self)",
            "",
            *conflict_verdicts.selves(cosines, parts),
        ],
        ["", "## Layers: the share of pairs in conflict and aligned", "", *conflict_verdicts.layers(layers, measured, periods)],
    ]


def _with_noise(periods: Sequence[Sequence[dict]], count: str) -> list[list[str]]:
    """What a log of an older version tells."""
    return [
        [count, "", UNTOLD],
        ["", "## Pairs: mean cosine of their gradients, and the share of measured steps in which it was negative", "", *_pairs(periods)],
        ["", "## Layers: the share of pairs of objectives below 0, and the pair of the lowest mean cosine", "", *_layers(periods)],
    ]


def largest_pull(exp: Path) -> float | None:
    """The largest ratio of ||gamma g_lower|| to ||lambda G|| that the run measured; None where it measured none."""
    measured = [line["conflict"] for line in read_log(exp) if line.get("conflict")]
    return max((ratio for one in measured if (ratio := _pull(one))), default=None)


def _thirds(lines: Sequence[dict]) -> list[list[dict]]:
    """The periods of the run; fewer where there are fewer than three lines."""
    count = min(len(PERIODS), len(lines))
    bounds = [round(number * len(lines) / count) for number in range(count + 1)]
    return [list(lines[start:end]) for start, end in zip(bounds, bounds[1:], strict=False)]


def _pairs(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    """Worst pairs of the last period first."""
    found = [_cosines((line["conflict"]["names"], line["conflict"]["matrix"]) for line in period) for period in periods]
    yield from table_head(["pair", *PERIODS[: len(periods)]])
    pairs = list(dict.fromkeys(pair for cosines in found for pair in cosines))
    for pair in sorted(pairs, key=lambda pair: _mean(found[-1].get(pair, []), math.inf)):
        cells = []
        for cosines in found:
            values = cosines.get(pair, [])
            cells.append(f"{_mean(values):+.3f}, {sum(value < 0 for value in values) / len(values):.0%}" if values else "")
        yield table_row([" - ".join(pair), *cells])


def _layers(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from table_head(["layers", *PERIODS[: len(periods)]])
    measured = [[line["conflict"] for line in period if len(line["conflict"]["names"]) > 1] for period in periods]
    for layer in dict.fromkeys(layer for period in measured for one in period for layer in one["rate"]):
        cells = []
        for period in measured:
            known = [one for one in period if layer in one["rate"]]
            cosines = _cosines((one["names"], one["matrix"] if layer == "all" else one["layers"][layer]) for one in known)
            worst = min(cosines, key=lambda pair: _mean(cosines[pair]), default=None)
            rate = _mean([one["rate"][layer] for one in known])
            cells.append(f"{rate:.0%}, {' - '.join(worst)} {_mean(cosines[worst]):+.3f}" if worst else "")
        yield table_row([layer, *cells])


def _cosines(matrices: Iterable[tuple[Sequence[str], Sequence[Sequence[float]]]]) -> dict[Pair, list[float]]:
    """The cosines of every pair of objectives in matrices (M, M) with the names of their rows."""
    found: dict[Pair, list[float]] = {}
    for names, matrix in matrices:
        for second in range(len(names)):
            for first in range(second):
                found.setdefault((names[first], names[second]), []).append(matrix[first][second])
    return found


def _objectives(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from table_head(["objective", *PERIODS[: len(periods)]])
    for name in dict.fromkeys(name for period in periods for line in period for name in line["conflict"]["names"]):
        cells = []
        for period in periods:
            norms = [dict(zip(line["conflict"]["names"], line["conflict"]["norm"], strict=True)).get(name) for line in period]
            weights = [line["lambda"].get(name) for line in period]
            losses = [line["loss"].get(name) for line in period]
            values = [("", norms), ("lambda ", weights), ("loss ", losses)]
            shown = [f"{label}{_mean(known):.3g}" for label, given in values if (known := [one for one in given if one is not None])]
            cells.append(", ".join(shown))
        yield table_row([name, *cells])


def _merged(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from table_head(["", *PERIODS[: len(periods)]])
    found = [[_numbers(line) for line in period] for period in periods]
    for title in dict.fromkeys(title for period in found for numbers in period for title in numbers):
        combine = max if title == DEVIATION else _mean
        known = [[numbers[title] for numbers in period if title in numbers] for period in found]
        yield table_row([title, *(f"{combine(values):.3g}" if values else "" for values in known)])
    metrics = [pair for period in periods for line in period for pair in line["metrics"].items()]
    for name in dict.fromkeys(name for name, one in metrics if "chance" in one):
        cells = []
        for period in periods:
            known = [line["metrics"][name] for line in period if line["metrics"].get(name, {}).get("chance") is not None]
            hit, chance = (_mean([one[key] for one in known]) for key in ("accuracy", "chance"))
            cells.append(f"{hit:.3f}, chance {chance:.3f}" if known else "")
        yield table_row([f"accuracy of {name}", *cells])


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    """What a line tells of the merged gradient, by the titles of rows; not every line knows everything."""
    conflict = line["conflict"]
    numbers = {
        "distance to Pareto stationarity, the length of sum lambda g": conflict["merged"],
        **{f"gamma of {name}": gamma for name, gamma in line["gamma"].items()},
        "pull of the lower levels, the length of gamma g": conflict["pull"],
        "pull over distance": _pull(conflict),
        **{f"steps in which one of {name} had more than 0.99 of the weight": share for name, share in line.get("vertex", {}).items()},
        DEVIATION: conflict.get("deviation"),
    }
    return {title: number for title, number in numbers.items() if number is not None}


def _pull(conflict: dict[str, Any]) -> float | None:
    """Pull over distance; None where the distance is 0."""
    return conflict["pull"] / conflict["merged"] if conflict["merged"] else None


def _mean(values: Sequence[float], empty: float = math.nan) -> float:
    return statistics.fmean(values) if values else empty
