"""Pictures of conflicts between objectives: cosines of gradients over time, and what they come to in each layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from m2asr.report.conflict_stats import Cosines, knows_noise
from m2asr.report.panels import (
    color_of,
    hide,
    last_third,
    new_figure,
    noise_of,
    plot_intervals,
    plot_lines,
    plot_shares,
    plot_strips,
    plot_table,
    smooth,
    smoothed_error,
)

MOST_LINES = 10  # in one panel, such as pairs of objectives; more would cover each other
MOST_INTERVALS = 30
CONFLICT, ALIGNED, UNTOLD = "tab:red", "tab:blue", "silver"


def cosines(measured: list[dict]) -> Any:
    """The mean matrix, every pair with its interval, and every pair over time: lines, or a strip each where they are many.

    A log that is older than intervals has the matrix and the pairs over time, of one batch.
    """
    found = Cosines(measured)
    few, bounded = len(found.pairs) <= MOST_LINES, knows_noise(measured)
    size, shown = len(found.names), min(MOST_INTERVALS, len(found.pairs))
    heights = [3.6, 0.55 * size + 1.8, 0 if few else 0.145 * len(found.pairs) + 1.2, (0.2 * shown + 1.4) * bounded]
    figure, panels = new_figure(1, 2 + bounded, 8.0 + 0.75 * size + 5.5 * bounded, max(heights))
    if bounded:
        _matrix(panels[0], found)
        _intervals(panels[1], found)
    else:
        plot_table(panels[0], last_third(found.one_batch), found.names, found.names, ".2f", vmin=-1, vmax=1, cmap="RdBu")
        panels[0].set_title("gradient cosines, mean of the last third", fontsize=10)
    _over_time(panels[-1], found, [line["step"] for line in measured], bounded)
    return figure


def _matrix(panel: Any, found: Cosines) -> None:
    """Cosines of independent batches over the run; white where they cannot be told from 0."""
    size = range(len(found.names))
    estimates = [[found.mean((row, column)) for column in size] for row in size]
    values = np.array([[one.value for one in row] for row in estimates])
    sure = np.array([[one.negative or one.positive for one in row] for row in estimates])
    plot_table(panel, values, found.names, found.names, ".2f", sure, **_around_zero(values))
    panel.set_title("cosines of independent batches\ndiagonal: of a gradient with itself; white: not told from 0", fontsize=10)


def _intervals(panel: Any, found: Cosines) -> None:
    """The pairs of the lowest and of the highest cosines."""
    estimates = {pair: found.mean(pair) for pair in found.pairs}
    pairs = sorted((pair for pair in found.pairs if not math.isnan(estimates[pair].value)), key=lambda pair: estimates[pair].value)
    if len(pairs) > MOST_INTERVALS:
        pairs = pairs[: MOST_INTERVALS // 2] + pairs[-MOST_INTERVALS // 2 :]
    shown = [estimates[pair] for pair in pairs]
    labels = [f"{found.names[i]} | {found.names[j]}" for i, j in pairs]
    colors = [CONFLICT if one.negative else ALIGNED if one.positive else UNTOLD for one in shown]
    legend = {"in conflict": CONFLICT, "aligned": ALIGNED, "not told from 0": UNTOLD}
    plot_intervals(panel, [(one.value, one.low, one.high) for one in shown], labels, colors, legend)
    which = f", {len(pairs)} lowest and highest pairs" if len(pairs) == MOST_INTERVALS else ""
    panel.set_title(f"mean over the run, 95 % interval{which}", fontsize=10)


def _over_time(panel: Any, found: Cosines, steps: list[int], bounded: bool) -> None:
    values = found.independent if bounded else found.one_batch
    pairs = [pair for pair in found.pairs if not np.isnan(values[:, pair[0], pair[1]]).all()]
    smoothed = np.array([smooth(values[:, i, j].tolist()) for i, j in pairs]).reshape(len(pairs), len(steps))
    spread = [noise_of(values[:, i, j]) for i, j in pairs]
    labels = [f"{found.names[i]} | {found.names[j]}" for i, j in pairs]
    error = 1.96 * smoothed_error(len(steps))  # what smoothing leaves of it, where a pair's cosine is 0
    if len(found.pairs) <= MOST_LINES:
        if bounded and spread:
            band = float(np.median(spread)) * error
            panel.fill_between(steps, -band, band, color="silver", alpha=0.5, linewidth=0, label="noise of a pair at 0")
        plot_lines(panel, steps, smoothed.tolist(), labels)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_title("each pair over time, smoothed", fontsize=10)
    else:
        if bounded:
            seen = np.array([np.cumsum(~np.isnan(values[:, i, j])) for i, j in pairs])  # (pairs, steps) a step may not know a pair
            smoothed = np.where(np.abs(smoothed) < np.array(spread)[:, None] * error[np.maximum(seen - 1, 0)], 0.0, smoothed)
        plot_strips(panel, steps, smoothed.tolist(), labels, **_around_zero(smoothed))
        panel.set_title("each pair over time, smoothed" + ("; white: within the noise" if bounded else ""), fontsize=10)
    panel.set_xlabel("step", fontsize=9)


def conflicts(train: list[dict], measured: list[dict]) -> Any:
    """Where gradients point apart, how long they are by layer and merged, and how well contrastive losses tell the true future."""
    with_norms = [line for line in measured if "norms" in line["conflict"]]  # a log may be older than these
    with_noise = [line for line in measured if "cross" in line["conflict"]]
    with_chance = [line for line in train if any("chance" in metrics for metrics in line["metrics"].values())]
    wanted = [(_shares, with_noise)] if with_noise else [(_rates, measured)]
    wanted += [(_layer_cosines, with_noise or measured), (_merged, measured)]
    wanted += [(_layer_norms, with_norms), (_layer_selves, with_noise), (_accuracies, with_chance)]
    drawn = [(draw, lines) for draw, lines in wanted if lines]
    rows = math.ceil(len(drawn) / 2)
    figure, panels = new_figure(rows, 2, 2 * max(6.0, 2.5 + 0.42 * len(_layers(measured))), 3.2 * rows + 0.2)
    for panel, (draw, lines) in zip(panels, drawn, strict=False):
        draw(panel, lines)
    hide(panels, len(drawn))
    return figure


def _shares(panel: Any, lines: list[dict]) -> None:
    layers = [*_layers(lines), "all"]
    counts = np.array([Cosines(lines, layer).counts() for layer in layers], dtype=float)  # (layers, 3)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    legend = {"in conflict": CONFLICT, "not told from 0": UNTOLD, "aligned": ALIGNED}
    plot_shares(panel, shares[:, [0, 2, 1]], layers, legend)
    panel.set_title("share of pairs of objectives in conflict, over the run", fontsize=10)


def _rates(panel: Any, lines: list[dict]) -> None:
    steps, layers = [line["step"] for line in lines], _layers(lines)
    smoothed = [smooth([line["conflict"]["rate"].get(layer, math.nan) for line in lines]) for layer in [*layers, "all"]]
    if len(layers) <= MOST_LINES:
        panel.plot(steps, smoothed[-1], color="black", linewidth=2.5, label="all")
        plot_lines(panel, steps, smoothed[:-1], layers)
        panel.set_ylim(0, max(0.05, 1.05 * float(np.nanmax(smoothed))))
    else:
        plot_strips(panel, steps, smoothed, [*layers, "all"], vmin=0, cmap="Reds")
    panel.set_title("share of pairs of objectives below 0, noise or not, smoothed", fontsize=10)
    panel.set_xlabel("step", fontsize=9)


def _layer_cosines(panel: Any, lines: list[dict]) -> None:
    """The pairs that point apart the most in some layer first."""
    layers, bounded = _layers(lines), knows_noise(lines)
    found = [Cosines(lines, layer) for layer in layers]
    names, pairs = found[0].names, sorted({pair for one in found for pair in one.pairs})
    if bounded:
        estimates = {pair: [one.mean(pair) for one in found] for pair in pairs}
        means = {pair: np.array([one.value for one in row]) for pair, row in estimates.items()}
    else:
        means = {(i, j): np.array([last_third(one.one_batch)[i, j] for one in found]) for i, j in pairs}
    known = [pair for pair in pairs if not np.isnan(means[pair]).all()]
    shown = sorted(known, key=lambda pair: float(np.nanmin(means[pair])))[:MOST_LINES]
    values, labels = np.array([means[pair] for pair in shown]), [f"{names[i]} | {names[j]}" for i, j in shown]
    sure = np.array([[one.negative or one.positive for one in estimates[pair]] for pair in shown]) if bounded else None
    plot_table(panel, values, labels, layers, ".2f", sure, **_around_zero(values))
    which = "" if len(shown) == len(pairs) else f", {len(shown)} lowest pairs"
    when = "over the run;\nwhite: not told from 0" if bounded else "mean of the last third"
    panel.set_title(f"cosines by layer{which}, {when}", fontsize=10)


def _layer_selves(panel: Any, lines: list[dict]) -> None:
    layers = [*_layers(lines), "all"]
    found = [Cosines(lines, layer) for layer in layers]
    names = found[0].names
    estimates = [[one.mean((place, place)) for one in found] for place in range(len(names))]
    values = np.array([[one.value for one in row] for row in estimates])
    sure = np.array([[one.positive for one in row] for row in estimates])
    plot_table(panel, values, names, layers, ".2f", sure, vmin=0, vmax=1, cmap="Greens")
    panel.set_title("signal: cosine of a gradient with itself on another batch, over the run;\nwhite: not told from 0", fontsize=10)


def _layer_norms(panel: Any, lines: list[dict]) -> None:
    names, layers = Cosines(lines).names, _layers(lines)
    values = np.full((len(lines), len(names), len(layers)), np.nan)
    for line, value in zip(lines, values, strict=True):
        index = [names.index(name) for name in line["conflict"]["names"]]
        for layer, norms in line["conflict"]["norms"].items():
            value[index, layers.index(layer)] = norms
    mean = last_third(values)
    plot_table(panel, mean, names, layers, ".2g", vmin=0, cmap="Blues")
    panel.set_title("length of the gradient by layer, mean of the last third", fontsize=10)


def _merged(panel: Any, lines: list[dict]) -> None:
    steps = [line["step"] for line in lines]
    for place, (key, label) in enumerate((("merged", "||lambda G||"), ("pull", "pull of lower levels"))):
        values = [line["conflict"][key] or math.nan for line in lines]  # 0 has no place on a log scale
        if not np.isnan(values).all():
            panel.plot(steps, values, color=color_of(place), alpha=0.25, linewidth=0.8)
            panel.plot(steps, smooth(values), color=color_of(place), linewidth=1.6, label=label)
            panel.set_yscale("log")
            panel.legend(fontsize=8, frameon=False)
    panel.set_title("length of the merged gradient, raw and smoothed", fontsize=10)
    panel.set_xlabel("step", fontsize=9)


def _accuracies(panel: Any, lines: list[dict]) -> None:
    for place, name in enumerate(dict.fromkeys(name for line in lines for name, one in line["metrics"].items() if "chance" in one)):
        for metric, style, label in (("accuracy", "-", name), ("chance", ":", f"{name}, chance")):
            values = [line["metrics"].get(name, {}).get(metric) for line in lines]
            smoothed = smooth([math.nan if value is None else value for value in values])
            panel.plot([line["step"] for line in lines], smoothed, style, color=color_of(place), linewidth=1.5, label=label)
    panel.set_title("accuracy of contrastive objectives, smoothed", fontsize=10)
    panel.set_xlabel("step", fontsize=9)
    panel.set_ylim(bottom=0)
    panel.legend(fontsize=8, frameon=False)


def _layers(measured: list[dict]) -> list[str]:
    return list(dict.fromkeys(layer for line in measured for layer in line["conflict"]["layers"]))


def _around_zero(values: Any) -> dict[str, Any]:
    """Colours for cosines: red below 0, blue above, on a scale wide enough to leave noise pale."""
    known = np.abs(values)[~np.isnan(values)]
    limit = max([0.05, *known.tolist()])
    return {"vmin": -limit, "vmax": limit, "cmap": "RdBu"}
