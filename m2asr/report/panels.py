"""Parts that pictures of a run are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

SPAN = 5  # log lines that smoothing looks back on


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, list]:
    """A figure of a size in inches, and its panels row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(np.ravel(figure.subplots(rows, columns)))
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.tick_params(which="both", labelsize=8)  # a log scale may label minor ticks
    return figure, panels


def hide(panels: list, used: int) -> None:
    """Leave out the panels after the first `used`."""
    for panel in panels[used:]:
        panel.set_visible(False)


def last_third(values: np.ndarray) -> np.ndarray:
    """Mean over the lines that know a value, of values (L, ...); nan where none does."""
    values = values[-max(1, len(values) // 3) :]
    known = ~np.isnan(values)
    return np.where(known.any(0), np.nansum(values, 0) / np.maximum(known.sum(0), 1), np.nan)


def plot_table(
    panel: Any, values: np.ndarray, rows: list[str], columns: list[str], number: str, sure: np.ndarray | None = None, **colors: Any
) -> None:
    """Values (R, C) as coloured squares with their number, written in the format `number`; nan stays empty.

    Where `sure` (R, C) is given and False, the square stays white and the number grey.
    """
    sure = np.ones(values.shape, dtype=bool) if sure is None else sure
    image = panel.imshow(np.where(sure, values, np.nan), aspect="equal" if rows == columns else "auto", **colors)
    panel.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=8)
    panel.set_yticks(range(len(rows)), rows, fontsize=8)
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            color = "grey" if not sure[i, j] else "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
            text = format(value, number).replace("-0.00", "0.00")
            panel.text(j, i, text, ha="center", va="center", fontsize=7, color=color)
    panel.grid(False)


def plot_lines(panel: Any, steps: list[int], values: list[list[float]], labels: list[str]) -> None:
    """A line per label, with the legend beside."""
    for place, (value, label) in enumerate(zip(values, labels, strict=True)):
        panel.plot(steps, value, color=color_of(place), linewidth=1.5, label=label)
    panel.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def plot_strips(panel: Any, steps: list[int], values: list[list[float]], labels: list[str], **colors: Any) -> None:
    """A strip of colour per label, with a scale beside."""
    image = panel.pcolormesh(steps, range(len(labels)), np.array(values), shading="nearest", **colors)
    panel.set_yticks(range(len(labels)), labels, fontsize=7)
    panel.invert_yaxis()
    panel.grid(False)
    panel.figure.colorbar(image, ax=panel, pad=0.01).ax.tick_params(labelsize=8)


def plot_intervals(
    panel: Any, bounds: list[tuple[float, float, float]], labels: list[str], colors: list[str], legend: dict[str, str]
) -> None:
    """A value with its low and high end per label, from the top down, with a line at 0; `legend` says what colours mean."""
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
    """A bar per label whose parts (L, K) add up to 1, from the top down; `legend` names the K parts and their colours."""
    left = np.zeros(len(labels))
    for share, (label, color) in zip(shares.T, legend.items(), strict=True):
        panel.barh(range(len(labels)), share, left=left, color=color, label=label)
        left += share
    panel.set_yticks(range(len(labels)), labels, fontsize=8)
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_axisbelow(True)
    panel.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def noise_of(values: np.ndarray) -> float:
    """The standard deviation of the noise of a series, from differences of neighbours, which a drift hardly changes; nan is left out."""
    values = values[~np.isnan(values)]
    return float(np.sqrt(0.5 * np.mean(np.diff(values) ** 2))) if len(values) > 1 else 0.0


def smoothed_error(count: int) -> np.ndarray:
    """What `smooth` makes of the standard deviation of independent values: its share (count,) at each of them."""
    weights = (1 - 1 / SPAN) ** np.arange(count)
    return np.sqrt(np.cumsum(weights**2)) / np.cumsum(weights)


def smooth(values: Sequence[float]) -> list[float]:
    """An exponential mean without the bias of its start; nan leaves it as it is."""
    mean, weight, smooth = 0.0, 0.0, []
    for value in values:
        if not math.isnan(value):
            mean, weight = (1 - 1 / SPAN) * mean + value / SPAN, (1 - 1 / SPAN) * weight + 1 / SPAN
        smooth.append(mean / weight if weight else math.nan)
    return smooth


def color_of(number: int) -> Any:
    """Twenty colours, the ten strong ones first."""
    from matplotlib import colormaps

    return colormaps["tab20"]((2 * number) % 20 + (number // 10) % 2)
