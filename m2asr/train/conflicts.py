"""A summary of a run's conflicts from its train.jsonl: which objectives fight, where, and how it changed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from m2asr.errors import UserError
from m2asr.train.log import read_log

PERIODS = ("first third", "middle", "last third")
Pair = tuple[str, str]


def summarize(exp: Path) -> str:
    """Markdown: pairs of objectives, layers, gradients and weights, each for three periods of the run.

    Raises UserError where the run measured no conflicts, as under static weights.
    """
    lines = [line for line in read_log(exp) if line["kind"] == "train"]
    measured = [line for line in lines if line.get("conflict")]
    if not measured:
        reason = "there is no training step yet" if not lines else "weights that do not look at every gradient measure none"
        raise UserError(f"{exp / 'train.jsonl'}: no conflicts were measured: {reason}; run it with `train: {{conflicts: true}}`")
    periods = _thirds(measured)
    parts = [
        [f"# {exp.name}: conflicts", "", f"{len(measured)} steps measured, {measured[0]['step']} to {measured[-1]['step']}."],
        ["", "## Pairs: mean cosine of their gradients, and the share of measured steps in which it was negative", "", *_pairs(periods)],
        ["", "## Layers: the share of pairs of objectives in conflict", "", *_layers(periods)],
        ["", "## Objectives: length of the gradient, weight lambda, loss", "", *_objectives(periods)],
        ["", "## The merged gradient", "", *_merged(periods)],
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def largest_pull(exp: Path) -> float | None:
    """The largest ratio of ||gamma g_lower|| to ||lambda G|| that the run measured; None where it measured none."""
    measured = [line["conflict"] for line in read_log(exp) if line.get("conflict")]
    ratios = [one["pull"] / one["merged"] for one in measured if one["merged"] and one["pull"]]
    return max(ratios, default=None)


def _thirds(lines: Sequence[dict]) -> list[list[dict]]:
    """The periods of the run; fewer where there are fewer than three lines."""
    count = min(len(PERIODS), len(lines))
    bounds = [round(number * len(lines) / count) for number in range(count + 1)]
    return [list(lines[start:end]) for start, end in zip(bounds, bounds[1:], strict=False)]


def _pairs(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    """Worst pairs of the last period first."""
    found: list[dict[Pair, list[float]]] = []
    for period in periods:
        cosines: dict[Pair, list[float]] = {}
        for line in period:
            names, matrix = line["conflict"]["names"], line["conflict"]["matrix"]
            for second in range(len(names)):
                for first in range(second):
                    cosines.setdefault((names[first], names[second]), []).append(matrix[first][second])
        found.append(cosines)
    yield from _head("pair", periods)
    pairs = list(dict.fromkeys(pair for cosines in found for pair in cosines))
    for pair in sorted(pairs, key=lambda pair: _mean(found[-1].get(pair, []), math.inf)):
        cells = []
        for cosines in found:
            values = cosines.get(pair, [])
            cells.append(f"{_mean(values):+.3f}, {sum(value < 0 for value in values) / len(values):.0%}" if values else "")
        yield _row(" - ".join(pair), cells)


def _layers(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from _head("layers", periods)
    for layer in periods[0][0]["conflict"]["rate"]:
        yield _row(layer, [f"{_mean([line['conflict']['rate'][layer] for line in period]):.0%}" for period in periods])


def _objectives(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from _head("objective", periods)
    for name in dict.fromkeys(name for period in periods for line in period for name in line["conflict"]["names"]):
        cells = []
        for period in periods:
            norms = [dict(zip(line["conflict"]["names"], line["conflict"]["norm"], strict=True)).get(name) for line in period]
            weights = [line["lambda"].get(name) for line in period]
            losses = [line["loss"].get(name) for line in period]
            values = [("", norms), ("lambda ", weights), ("loss ", losses)]
            shown = [f"{label}{_mean(known):.3g}" for label, given in values if (known := [one for one in given if one is not None])]
            cells.append(", ".join(shown))
        yield _row(name, cells)


def _merged(periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    yield from _head("", periods)
    rows = {
        "distance to Pareto stationarity, the length of sum lambda g": lambda line: line["conflict"]["merged"],
        **{f"gamma of {name}": lambda line, name=name: line["gamma"].get(name, math.nan) for name in periods[-1][-1]["gamma"]},
        "pull of the lower levels, the length of gamma g": lambda line: line["conflict"]["pull"],
        "pull over distance": lambda line: line["conflict"]["pull"] / (line["conflict"]["merged"] or math.nan),
    }
    if any("deviation" in line["conflict"] for period in periods for line in period):
        rows["largest deviation of a lambda from the exact one"] = lambda line: line["conflict"].get("deviation", math.nan)
    for title, value in rows.items():
        yield _row(title, [f"{_mean([value(line) for line in period]):.3g}" for period in periods])
    for name in dict.fromkeys(name for line in periods[-1] for name, metrics in line["metrics"].items() if "chance" in metrics):
        cells = []
        for period in periods:
            metrics = [line["metrics"][name] for line in period if line["metrics"].get(name, {}).get("chance") is not None]
            hit, chance = (_mean([one[key] for one in metrics]) for key in ("accuracy", "chance"))
            cells.append(f"{hit:.3f}, chance {chance:.3f}")
        yield _row(f"accuracy of {name}", cells)


def _head(title: str, periods: Sequence[Any]) -> list[str]:
    return [_row(title, PERIODS[: len(periods)]), "|---|" + "---:|" * len(periods)]


def _row(title: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([title, *cells]) + " |"


def _mean(values: Sequence[float], empty: float = math.nan) -> float:
    return statistics.fmean(values) if values else empty
