"""Panels that pictures of a run are made of, and the smoothing of their lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

SPAN = 5  # log lines over which smoothing takes the mean, about


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, list]:
    """Make a figure of a size in inches, and return it with its panels, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(np.ravel(figure.subplots(rows, columns)))
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.tick_params(which="both", labelsize=8)  # a log scale may label minor ticks
    return figure, panels


def hide(panels: list, count: int) -> None:
    """Hide the panels after the first `count`."""
    for panel in panels[count:]:
        panel.set_visible(False)


def last_third(values: np.ndarray) -> np.ndarray:
    """The mean of values (L, ...) over the last third of the lines L, without those that are nan; nan where all of them are."""
    values = values[-max(1, len(values) // 3) :]
    counts = (~np.isnan(values)).sum(0)
    return np.where(counts > 0, np.nansum(values, 0) / np.maximum(counts, 1), np.nan)


def plot_table(
    panel: Any, values: np.ndarray, rows: list[str], columns: list[str], number: str, certain: np.ndarray | None = None, **colors: Any
) -> None:
    """Draw values (R, C) as coloured squares, each with its number in the format `number`; nan stays empty.

    Where `certain` (R, C) is False, the square stays white and the number is grey. Without `certain` all squares are coloured.
    """
    certain = np.ones(values.shape, dtype=bool) if certain is None else certain
    image = panel.imshow(np.where(certain, values, np.nan), aspect="equal" if rows == columns else "auto", **colors)
    turned = {"rotation": 45, "ha": "right"} if max(map(len, columns)) > 3 else {}  # long names would cover each other
    panel.set_xticks(range(len(columns)), columns, fontsize=8, **turned)
    panel.set_yticks(range(len(rows)), rows, fontsize=8)
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            color = "grey" if not certain[i, j] else "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
            text = format(value, number).replace("-0.00", "0.00")
            panel.text(j, i, text, ha="center", va="center", fontsize=7, color=color)
    panel.grid(False)


def plot_lines(panel: Any, steps: list[int], values: list[list[float]], labels: list[str]) -> None:
    """Draw a line per label, with the legend beside the panel."""
    for number, (line, label) in enumerate(zip(values, labels, strict=True)):
        panel.plot(steps, line, color=color_of(number), linewidth=1.5, label=label)
    panel.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def plot_strips(panel: Any, steps: list[int], values: list[list[float]], labels: list[str], **colors: Any) -> None:
    """Draw a strip of colour per label, with the scale beside the panel."""
    image = panel.pcolormesh(steps, range(len(labels)), np.array(values), shading="nearest", **colors)
    panel.set_yticks(range(len(labels)), labels, fontsize=7)
    panel.invert_yaxis()
    panel.grid(False)
    panel.figure.colorbar(image, ax=panel, pad=0.01).ax.tick_params(labelsize=8)


def plot_intervals(
    panel: Any, bounds: list[tuple[float, float, float]], labels: list[str], colors: list[str], legend: dict[str, str]
) -> None:
    """Draw a value with its low and high end per label, from the top down, and a line at 0. `legend` maps names to colours."""
    for row, ((value, low, high), color) in enumerate(zip(bounds, colors, strict=True)):
        panel.plot([low, high], [row, row], color=color, linewidth=2)
        panel.plot([value], [row], "o", color=color, markersize=4)
    panel.set_yticks(range(len(labels)), labels, fontsize=7)
    panel.set_ylim(max(1, len(labels)) - 0.5, -0.5)
    panel.axvline(0, color="black", linewidth=0.6)
    for label, color in legend.items():
        panel.plot([], [], "o-", color=color, markersize=4, label=label)
    panel.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=len(legend))


def plot_shares(panel: Any, shares: np.ndarray, labels: list[str], legend: dict[str, str]) -> None:
    """Draw a bar per label, from the top down, whose K shares (L, K) add up to 1. `legend` maps the names of the shares to colours."""
    start = np.zeros(len(labels))
    for share, (label, color) in zip(shares.T, legend.items(), strict=True):
        panel.barh(range(len(labels)), share, left=start, color=color, label=label)
        start += share
    panel.set_yticks(range(len(labels)), labels, fontsize=8)
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_axisbelow(True)
    panel.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def noise_of(values: np.ndarray) -> float:
    """The standard deviation of the noise of a series (N,), without its nan, from differences of neighbours, which hide slow drift."""
    values = values[~np.isnan(values)]
    return float(np.sqrt(0.5 * np.mean(np.diff(values) ** 2))) if len(values) > 1 else 0.0


def smoothed_error(count: int) -> np.ndarray:
    """The standard deviation (count,) of independent values after `smooth`, as a share of the one before it, at each of the values."""
    factors = (1 - 1 / SPAN) ** np.arange(count)
    return np.sqrt(np.cumsum(factors**2)) / np.cumsum(factors)


def smooth(values: Sequence[float]) -> list[float]:
    """The running exponential mean of values, without the bias of its start. A value that is nan does not change the mean."""
    total, factor, means = 0.0, 0.0, []
    for value in values:
        if not math.isnan(value):
            total, factor = (1 - 1 / SPAN) * total + value / SPAN, (1 - 1 / SPAN) * factor + 1 / SPAN
        means.append(total / factor if factor else math.nan)
    return means


def color_of(number: int) -> Any:
    """The colour of a line by its number: one of twenty, the ten strong colours first."""
    from matplotlib import colormaps

    return colormaps["tab20"]((2 * number) % 20 + (number // 10) % 2)
