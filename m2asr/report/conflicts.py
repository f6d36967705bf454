"""The conflict report of a run, from its train.jsonl: which objectives are in conflict, in which layers, and how this changed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from m2asr.errors import UserError
from m2asr.report import conflict_verdicts
from m2asr.report.conflict_stats import Cosines, noise_was_measured
from m2asr.report.log import read_log
from m2asr.report.tables import PERIODS, table_head, table_row

NO_NOISE = (
    "The noise was not measured in this run, whose log is older than that: nobody can tell which of these cosines differ from 0 by more "
    "than chance, nor which of them are due to a batch that two objectives share."
)
DEVIATION = "largest deviation of a lambda from the exact one"
Pair = tuple[str, str]


def summarize(exp: Path) -> str:
    """The report as Markdown: the verdict, pairs of objectives, layers, gradients and weights, each for three periods of the run.

    Only cosines beyond the noise of batches count as conflicts. The log of an older version did not measure this noise, and then the report
    says so. Raises UserError where the run measured no conflicts, as under static weights.
    """
    lines = [line for line in read_log(exp) if line["kind"] == "train"]
    measured = [line for line in lines if line.get("conflict")]
    if not measured:
        reason = "there is no training step yet" if not lines else "weights that do not look at every gradient measure none"
        raise UserError(f"{exp / 'train.jsonl'}: no conflicts were measured: {reason}; run it with `train: {{conflicts: true}}`")
    periods = _thirds(measured)
    head = [f"# {exp.name}: conflicts", ""]
    count = f"{len(measured)} steps measured, {measured[0]['step']} to {measured[-1]['step']}."
    sections = _above_noise(measured, periods, count) if noise_was_measured(measured) else _with_noise(periods, count)
    sections += [
        ["", "## Objectives: length of the gradient, weight lambda, loss", "", *_objectives(periods)],
        ["", "## The merged gradient", "", *_merged(periods)],
    ]
    return "\n".join(line for section in [head, *sections] for line in section) + "\n"


def _above_noise(measured: Sequence[dict], periods: Sequence[Sequence[dict]], count: str) -> list[list[str]]:
    """The sections on pairs and layers of a log that measured the noise of batches."""
    cosines, by_period = Cosines(measured), [Cosines(period) for period in periods]
    layers = list(dict.fromkeys(layer for line in measured for layer in line["conflict"]["rate"]))
    return [
        [*conflict_verdicts.verdict(cosines, by_period), "", count, "", conflict_verdicts.READING],
        ["", "## Pairs", "", *conflict_verdicts.pairs(cosines, by_period)],
        [
            "",
            "## Signal: cosine of each gradient with itself, between two halves of a step's speech (self)",
            "",
            *conflict_verdicts.selves(cosines, by_period),
        ],
        ["", "## Layers: the share of pairs in conflict and aligned", "", *conflict_verdicts.layers(layers, measured, periods)],
    ]


def _with_noise(periods: Sequence[Sequence[dict]], count: str) -> list[list[str]]:
    """The sections on pairs and layers of an older log, which did not measure the noise of batches."""
    return [
        [count, "", NO_NOISE],
        ["", "## Pairs: mean cosine of their gradients, and the share of measured steps in which it was negative", "", *_pairs(periods)],
        ["", "## Layers: the share of pairs of objectives below 0, and the pair of the lowest mean cosine", "", *_layers(periods)],
    ]


def largest_pull(exp: Path) -> float | None:
    """The largest ratio of ||gamma g_lower|| to ||lambda G|| that the run measured; None where it measured none."""
    conflicts = [line["conflict"] for line in read_log(exp) if line.get("conflict")]
    return max((ratio for conflict in conflicts if (ratio := _pull(conflict))), default=None)


def _thirds(lines: Sequence[dict]) -> list[list[dict]]:
    """Split the lines into the three periods of the run, or into fewer where there are fewer than three lines."""
    count = min(len(PERIODS), len(lines))
    bounds = [round(number * len(lines) / count) for number in range(count + 1)]
    return [list(lines[start:end]) for start, end in zip(bounds, bounds[1:], strict=False)]


def _pairs(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    """A table of all pairs, from the lowest cosine of the last period up."""
    by_period = [_cosines((line["conflict"]["names"], line["conflict"]["matrix"]) for line in period) for period in periods]
    yield from table_head(["pair", *PERIODS[: len(periods)]])
    pairs = list(dict.fromkeys(pair for cosines in by_period for pair in cosines))
    for pair in sorted(pairs, key=lambda pair: _mean(by_period[-1].get(pair, []), math.inf)):
        cells = []
        for cosines in by_period:
            values = cosines.get(pair, [])
            cells.append(f"{_mean(values):+.3f}, {sum(value < 0 for value in values) / len(values):.0%}" if values else "")
        yield table_row([" - ".join(pair), *cells])


def _layers(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from table_head(["layers", *PERIODS[: len(periods)]])
    by_period = [[line["conflict"] for line in period if len(line["conflict"]["names"]) > 1] for period in periods]
    for layer in dict.fromkeys(layer for conflicts in by_period for conflict in conflicts for layer in conflict["rate"]):
        cells = []
        for conflicts in by_period:
            measured = [conflict for conflict in conflicts if layer in conflict["rate"]]
            matrices = [conflict["matrix"] if layer == "all" else conflict["layers"][layer] for conflict in measured]
            cosines = _cosines((conflict["names"], matrix) for conflict, matrix in zip(measured, matrices, strict=True))
            worst = min(cosines, key=lambda pair: _mean(cosines[pair]), default=None)
            rate = _mean([conflict["rate"][layer] for conflict in measured])
            cells.append(f"{rate:.0%}, {' - '.join(worst)} {_mean(cosines[worst]):+.3f}" if worst else "")
        yield table_row([layer, *cells])


def _cosines(matrices: Iterable[tuple[Sequence[str], Sequence[Sequence[float]]]]) -> dict[Pair, list[float]]:
    """The cosines of every pair of objectives in matrices (M, M) with the names of their rows."""
    cosines: dict[Pair, list[float]] = {}
    for names, matrix in matrices:
        for second in range(len(names)):
            for first in range(second):
                cosines.setdefault((names[first], names[second]), []).append(matrix[first][second])
    return cosines


def _objectives(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from table_head(["objective", *PERIODS[: len(periods)]])
    for name in dict.fromkeys(name for period in periods for line in period for name in line["conflict"]["names"]):
        cells = []
        for period in periods:
            norms = [dict(zip(line["conflict"]["names"], line["conflict"]["norm"], strict=True)).get(name) for line in period]
            weights = [line["lambda"].get(name) for line in period]
            losses = [line["loss"].get(name) for line in period]
            means = []
            for label, values in (("", norms), ("lambda ", weights), ("loss ", losses)):
                if measured := [value for value in values if value is not None]:
                    means.append(f"{label}{_mean(measured):.3g}")
            cells.append(", ".join(means))
        yield table_row([name, *cells])


def _merged(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from table_head(["", *PERIODS[: len(periods)]])
    rows = [[_numbers(line) for line in period] for period in periods]
    for title in dict.fromkeys(title for period in rows for numbers in period for title in numbers):
        combine = max if title == DEVIATION else _mean
        by_period = [[numbers[title] for numbers in period if title in numbers] for period in rows]
        yield table_row([title, *(f"{combine(values):.3g}" if values else "" for values in by_period)])
    pairs = [pair for period in periods for line in period for pair in line["metrics"].items()]
    for name in dict.fromkeys(name for name, metrics in pairs if "chance" in metrics):
        cells = []
        for period in periods:
            measured = [line["metrics"][name] for line in period if line["metrics"].get(name, {}).get("chance") is not None]
            accuracy, chance = (_mean([metrics[key] for metrics in measured]) for key in ("accuracy", "chance"))
            cells.append(f"{accuracy:.3f}, chance {chance:.3f}" if measured else "")
        yield table_row([f"accuracy of {name}", *cells])


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    """The numbers of a line for the table of the merged gradient, by the titles of its rows; missing numbers are left out."""
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
