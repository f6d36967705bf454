"""Pictures of conflicts between objectives: cosines of gradients over time, and by layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from m2asr.report.conflict_stats import Cosines, Estimate, noise_was_measured
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

MOST_LINES = 10  # in one panel; more lines would cover each other
MOST_INTERVALS = 30  # in one panel
CONFLICT, ALIGNED, UNDECIDED = "tab:red", "tab:blue", "silver"


def plot_cosines(measured: list[dict]) -> Any:
    """Draw the matrix of mean cosines, every pair with its interval, and every pair over time.

    Over time each pair is a line, or a strip of colour where there are many pairs. A log of an older version has no intervals; its matrix
    and its pairs over time come from the same batch.
    """
    cosines = Cosines(measured)
    few, bounded = len(cosines.pairs) <= MOST_LINES, noise_was_measured(measured)
    size, intervals = len(cosines.names), min(MOST_INTERVALS, len(cosines.pairs))
    heights = [3.6, 0.55 * size + 1.8, 0 if few else 0.145 * len(cosines.pairs) + 1.2, (0.2 * intervals + 1.4) * bounded]
    figure, panels = new_figure(1, 2 + bounded, 8.0 + 0.75 * size + 5.5 * bounded, max(heights))
    if bounded:
        _matrix(panels[0], cosines)
        _intervals(panels[1], cosines)
    else:
        plot_table(panels[0], last_third(cosines.one_batch), cosines.names, cosines.names, ".2f", vmin=-1, vmax=1, cmap="RdBu")
        panels[0].set_title("gradient cosines, mean of the last third", fontsize=10)
    _over_time(panels[-1], cosines, [line["step"] for line in measured], bounded)
    return figure


def _matrix(panel: Any, cosines: Cosines) -> None:
    """Draw the cosines of independent batches over the run; a square is white where its cosine cannot be told from 0."""
    indexes = range(len(cosines.names))
    estimates = [[cosines.mean((row, column)) for column in indexes] for row in indexes]
    values, certain = _values(estimates), np.array([[estimate.negative or estimate.positive for estimate in row] for row in estimates])
    plot_table(panel, values, cosines.names, cosines.names, ".2f", certain, **_around_zero(values))
    panel.set_title("cosines of independent batches\ndiagonal: of a gradient with itself; white: not told from 0", fontsize=10)


def _intervals(panel: Any, cosines: Cosines) -> None:
    """Draw the interval of every pair, or of the lowest and the highest cosines where there are many pairs."""
    means = {pair: cosines.mean(pair) for pair in cosines.pairs}
    pairs = sorted((pair for pair in cosines.pairs if not math.isnan(means[pair].value)), key=lambda pair: means[pair].value)
    if len(pairs) > MOST_INTERVALS:
        pairs = pairs[: MOST_INTERVALS // 2] + pairs[-MOST_INTERVALS // 2 :]
    estimates = [means[pair] for pair in pairs]
    labels = [f"{cosines.names[i]} | {cosines.names[j]}" for i, j in pairs]
    colors = [CONFLICT if estimate.negative else ALIGNED if estimate.positive else UNDECIDED for estimate in estimates]
    legend = {"in conflict": CONFLICT, "aligned": ALIGNED, "not told from 0": UNDECIDED}
    plot_intervals(panel, [(estimate.value, estimate.low, estimate.high) for estimate in estimates], labels, colors, legend)
    selection = f", {len(pairs)} lowest and highest pairs" if len(pairs) == MOST_INTERVALS else ""
    panel.set_title(f"mean over the run, 95 % interval{selection}", fontsize=10)


def _over_time(panel: Any, cosines: Cosines, steps: list[int], bounded: bool) -> None:
    """Draw the smoothed cosine of every pair over time, and how far noise alone reaches where it was measured (`bounded`)."""
    values = cosines.independent if bounded else cosines.one_batch
    pairs = [pair for pair in cosines.pairs if not np.isnan(values[:, pair[0], pair[1]]).all()]
    smoothed = np.array([smooth(values[:, i, j].tolist()) for i, j in pairs]).reshape(len(pairs), len(steps))
    noise = [noise_of(values[:, i, j]) for i, j in pairs]
    labels = [f"{cosines.names[i]} | {cosines.names[j]}" for i, j in pairs]
    error = 1.96 * smoothed_error(len(steps))  # times the noise of a pair: how far its smoothed cosine lies from a true cosine of 0
    if len(cosines.pairs) <= MOST_LINES:
        if bounded and noise:
            band = float(np.median(noise)) * error
            panel.fill_between(steps, -band, band, color="silver", alpha=0.5, linewidth=0, label="noise of a pair at 0")
        plot_lines(panel, steps, smoothed.tolist(), labels)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_title("each pair over time, smoothed", fontsize=10)
    else:
        if bounded:
            counts = np.array([np.cumsum(~np.isnan(values[:, i, j])) for i, j in pairs])  # (pairs, steps) values up to each step
            smoothed = np.where(np.abs(smoothed) < np.array(noise)[:, None] * error[np.maximum(counts - 1, 0)], 0.0, smoothed)
        plot_strips(panel, steps, smoothed.tolist(), labels, **_around_zero(smoothed))
        panel.set_title("each pair over time, smoothed" + ("; white: within the noise" if bounded else ""), fontsize=10)
    panel.set_xlabel("step", fontsize=9)


def plot_conflicts(measured: list[dict]) -> Any:
    """Draw conflicts and cosines by layer, and lengths of gradients by layer and merged."""
    with_norms = [line for line in measured if "norms" in line["conflict"]]  # logs of older versions lack norms or cross
    with_noise = [line for line in measured if "cross" in line["conflict"]]
    pictures = [(_shares, with_noise)] if with_noise else [(_rates, measured)]
    pictures += [(_layer_cosines, with_noise or measured), (_merged, measured)]
    pictures += [(_layer_norms, with_norms), (_layer_selves, with_noise)]
    pictures = [(plot, lines) for plot, lines in pictures if lines]
    rows = math.ceil(len(pictures) / 2)
    figure, panels = new_figure(rows, 2, 2 * max(6.0, 2.5 + 0.42 * len(_layers(measured))), 3.2 * rows + 0.2)
    for panel, (plot, lines) in zip(panels, pictures, strict=False):
        plot(panel, lines)
    hide(panels, len(pictures))
    return figure


def _shares(panel: Any, lines: list[dict]) -> None:
    """Draw the shares of pairs in conflict, undecided and aligned in every layer."""
    layers = [*_layers(lines), "all"]
    counts = np.array([Cosines(lines, layer).counts() for layer in layers], dtype=float)  # (layers, 3)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    legend = {"in conflict": CONFLICT, "not told from 0": UNDECIDED, "aligned": ALIGNED}
    plot_shares(panel, shares[:, [0, 2, 1]], layers, legend)
    panel.set_title("share of pairs of objectives in conflict, over the run", fontsize=10)


def _rates(panel: Any, lines: list[dict]) -> None:
    """Draw the share of pairs with a cosine below 0 over time, where the noise was not measured."""
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
    """Draw the cosines of pairs by layer: the pairs with the lowest cosines in any layer, from the lowest up."""
    layers, bounded = _layers(lines), noise_was_measured(lines)
    by_layer = [Cosines(lines, layer) for layer in layers]
    names, pairs = by_layer[0].names, sorted({pair for cosines in by_layer for pair in cosines.pairs})
    if bounded:
        estimates = {pair: [cosines.mean(pair) for cosines in by_layer] for pair in pairs}
        means = {pair: np.array([estimate.value for estimate in row]) for pair, row in estimates.items()}
    else:
        means = {(i, j): np.array([last_third(cosines.one_batch)[i, j] for cosines in by_layer]) for i, j in pairs}
    measured = [pair for pair in pairs if not np.isnan(means[pair]).all()]
    lowest = sorted(measured, key=lambda pair: float(np.nanmin(means[pair])))[:MOST_LINES]
    values, labels = np.array([means[pair] for pair in lowest]), [f"{names[i]} | {names[j]}" for i, j in lowest]
    certain = np.array([[cosine.negative or cosine.positive for cosine in estimates[pair]] for pair in lowest]) if bounded else None
    plot_table(panel, values, labels, layers, ".2f", certain, **_around_zero(values))
    selection = "" if len(lowest) == len(pairs) else f", {len(lowest)} lowest pairs"
    period = "over the run;\nwhite: not told from 0" if bounded else "mean of the last third"
    panel.set_title(f"cosines by layer{selection}, {period}", fontsize=10)


def _layer_selves(panel: Any, lines: list[dict]) -> None:
    """Draw the cosine of each gradient with itself on another batch in every layer."""
    layers = [*_layers(lines), "all"]
    by_layer = [Cosines(lines, layer) for layer in layers]
    names = by_layer[0].names
    estimates = [[cosines.mean((index, index)) for cosines in by_layer] for index in range(len(names))]
    certain = np.array([[estimate.positive for estimate in row] for row in estimates])
    plot_table(panel, _values(estimates), names, layers, ".2f", certain, vmin=0, vmax=1, cmap="Greens")
    panel.set_title("signal: cosine of a gradient with itself on another batch, over the run;\nwhite: not told from 0", fontsize=10)


def _layer_norms(panel: Any, lines: list[dict]) -> None:
    """Draw the lengths of the gradients in every layer, in the last third of the run."""
    names, layers = Cosines(lines).names, _layers(lines)
    values = np.full((len(lines), len(names), len(layers)), np.nan)
    for line, value in zip(lines, values, strict=True):
        indexes = [names.index(name) for name in line["conflict"]["names"]]
        for layer, norms in line["conflict"]["norms"].items():
            value[indexes, layers.index(layer)] = norms
    plot_table(panel, last_third(values), names, layers, ".2g", vmin=0, cmap="Blues")
    panel.set_title("length of the gradient by layer, mean of the last third", fontsize=10)


def _merged(panel: Any, lines: list[dict]) -> None:
    """Draw the length of the merged gradient, and of what lower levels add to it, over time."""
    steps = [line["step"] for line in lines]
    for number, (key, label) in enumerate((("merged", "||lambda G||"), ("pull", "pull of lower levels"))):
        values = [line["conflict"][key] or math.nan for line in lines]  # a log scale cannot show 0
        if not np.isnan(values).all():
            panel.plot(steps, values, color=color_of(number), alpha=0.25, linewidth=0.8)
            panel.plot(steps, smooth(values), color=color_of(number), linewidth=1.6, label=label)
            panel.set_yscale("log")
            panel.legend(fontsize=8, frameon=False)
    panel.set_title("length of the merged gradient, raw and smoothed", fontsize=10)
    panel.set_xlabel("step", fontsize=9)


def _layers(measured: list[dict]) -> list[str]:
    return list(dict.fromkeys(layer for line in measured for layer in line["conflict"]["layers"]))


def _values(estimates: list[list[Estimate]]) -> np.ndarray:
    return np.array([[estimate.value for estimate in row] for row in estimates])


def _around_zero(values: Any) -> dict[str, Any]:
    """Options of a panel that colour cosines: red below 0, blue above. The scale is never so narrow that noise gets strong colours."""
    lengths = np.abs(values)[~np.isnan(values)]
    limit = max([0.05, *lengths.tolist()])
    return {"vmin": -limit, "vmax": limit, "cmap": "RdBu"}
