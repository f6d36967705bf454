"""Pictures of conflicts between objectives: cosines of gradients over time, and what they come to in each layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from m2asr.train.panels import color_of, hide, last_third, new_figure, plot_lines, plot_strips, plot_table, smooth

MOST_LINES = 10  # in one panel, such as pairs of objectives; more would cover each other


def cosines(measured: list[dict]) -> Any:
    """The mean matrix over the last third of the run, and every pair over time: lines, or a strip each where they are many."""
    names, values = _names(measured), _matrices(measured)
    size, steps = len(names), [line["step"] for line in measured]
    pairs = [(i, j) for j in range(size) for i in range(j)]
    few = len(pairs) <= MOST_LINES
    figure, panels = new_figure(1, 2, 8.0 + 0.75 * size, max(3.6, 0.55 * size + 1.8, 0 if few else 0.145 * len(pairs) + 1.2))
    plot_table(panels[0], last_third(values), names, names, ".2f", vmin=-1, vmax=1, cmap="RdBu")
    panels[0].set_title("gradient cosines, mean of the last third", fontsize=10)
    smoothed = [smooth(values[:, i, j].tolist()) for i, j in pairs]
    labels = [f"{names[i]} | {names[j]}" for i, j in pairs]
    if few:
        plot_lines(panels[1], steps, smoothed, labels)
        panels[1].axhline(0, color="black", linewidth=0.6)
    else:
        plot_strips(panels[1], steps, smoothed, labels, **_around_zero(smoothed))
    panels[1].set_title("each pair over time, smoothed", fontsize=10)
    panels[1].set_xlabel("step", fontsize=9)
    return figure


def conflicts(train: list[dict], measured: list[dict]) -> Any:
    """Where gradients point apart, how long they are by layer and merged, and how well contrastive losses tell the true future."""
    with_norms = [line for line in measured if "norms" in line["conflict"]]  # a log may be older than these
    with_chance = [line for line in train if any("chance" in metrics for metrics in line["metrics"].values())]
    wanted = [(_rates, measured), (_layer_cosines, measured), (_merged, measured), (_layer_norms, with_norms), (_accuracies, with_chance)]
    drawn = [(draw, lines) for draw, lines in wanted if lines]
    rows = math.ceil(len(drawn) / 2)
    figure, panels = new_figure(rows, 2, 2 * max(6.0, 2.5 + 0.42 * len(_layers(measured))), 3.2 * rows + 0.2)
    for panel, (draw, lines) in zip(panels, drawn, strict=False):
        draw(panel, lines)
    hide(panels, len(drawn))
    return figure


def _rates(panel: Any, lines: list[dict]) -> None:
    steps, layers = [line["step"] for line in lines], _layers(lines)
    smoothed = [smooth([line["conflict"]["rate"].get(layer, math.nan) for line in lines]) for layer in [*layers, "all"]]
    if len(layers) <= MOST_LINES:
        panel.plot(steps, smoothed[-1], color="black", linewidth=2.5, label="all")
        plot_lines(panel, steps, smoothed[:-1], layers)
        panel.set_ylim(0, max(0.05, 1.05 * float(np.nanmax(smoothed))))
    else:
        plot_strips(panel, steps, smoothed, [*layers, "all"], vmin=0, cmap="Reds")
    panel.set_title("share of pairs of objectives in conflict, smoothed", fontsize=10)
    panel.set_xlabel("step", fontsize=9)


def _layer_cosines(panel: Any, lines: list[dict]) -> None:
    """The pairs that point apart the most in some layer first."""
    names, layers = _names(lines), _layers(lines)
    means = np.stack([last_third(_matrices(lines, layer)) for layer in layers], -1)  # (M, M, layers)
    pairs = [(i, j) for j in range(len(names)) for i in range(j) if not np.isnan(means[i, j]).all()]
    shown = sorted(pairs, key=lambda pair: float(np.nanmin(means[pair])))[:MOST_LINES]
    values, labels = np.array([means[pair] for pair in shown]), [f"{names[i]} | {names[j]}" for i, j in shown]
    plot_table(panel, values, labels, layers, ".2f", **_around_zero(values))
    which = "" if len(shown) == len(pairs) else f", {len(shown)} worst pairs"
    panel.set_title(f"cosines by layer{which}, mean of the last third", fontsize=10)


def _layer_norms(panel: Any, lines: list[dict]) -> None:
    names, layers = _names(lines), _layers(lines)
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


def _names(measured: list[dict]) -> list[str]:
    return list(dict.fromkeys(name for line in measured for name in line["conflict"]["names"]))


def _layers(measured: list[dict]) -> list[str]:
    return list(dict.fromkeys(layer for line in measured for layer in line["conflict"]["layers"]))


def _matrices(measured: list[dict], layer: str | None = None) -> np.ndarray:
    """Cosines (L, M, M) in a layer or in the whole backbone; nan where an objective had no gradient."""
    names = _names(measured)
    values = np.full((len(measured), len(names), len(names)), np.nan)
    for line, value in zip(measured, values, strict=True):
        conflict = line["conflict"]
        matrix = conflict["matrix"] if layer is None else conflict["layers"].get(layer)
        if matrix is not None:
            index = [names.index(name) for name in conflict["names"]]
            value[np.ix_(index, index)] = matrix
    return values


def _around_zero(values: Any) -> dict[str, Any]:
    """Colours for cosines: red below 0, blue above, on a scale wide enough to leave noise pale."""
    limit = max(0.05, float(np.nanmax(np.abs(values))))
    return {"vmin": -limit, "vmax": limit, "cmap": "RdBu"}
