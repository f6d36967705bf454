"""Pictures of a run from its train.jsonl: losses, weights and gamma, gradient cosines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2asr.files import open_atomic
from m2asr.train.log import read_log

SPAN = 5  # log lines that smoothing looks back on
MOST_LINES = 10  # pairs of objectives; more would cover each other


def draw(exp: Path) -> list[Path]:
    """Write plots/losses.png, weights.png and cosines.png, as far as the log has their numbers."""
    lines = read_log(exp)
    train = [line for line in lines if line["kind"] == "train"]
    dev = [line for line in lines if line["kind"] == "dev"]
    if not train:
        return []
    figures = {"losses": _losses(train, dev), "weights": _weights(train)}
    measured = [line for line in train if line.get("conflict") and len(line["conflict"]["names"]) > 1]
    if measured:
        figures["cosines"] = _cosines(measured)
    written = []
    for name, figure in figures.items():
        path = exp / "plots" / f"{name}.png"
        with open_atomic(path, "wb") as file:
            figure.savefig(file, format="png", dpi=110)
        written.append(path)
    return written


def _losses(train: list[dict], dev: list[dict]) -> Any:
    """One panel per objective: training loss, raw and smoothed, and the development loss."""
    names = sorted({name for line in train for name in line["loss"]}, key=_first_seen(train, "loss"))
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure, panels = _figure(rows, columns, 4.2 * columns, 2.6 * rows + 0.4)
    for panel, name in zip(panels, names, strict=False):
        x, y = _series(train, "loss", name)
        panel.plot(x, y, color="tab:blue", alpha=0.25, linewidth=0.8)
        panel.plot(x, _smooth(y), color="tab:blue", linewidth=1.6, label="train")
        x, y = _series(dev, "loss", name)
        if x:
            panel.plot(x, y, color="tab:orange", marker="o", markersize=3, linewidth=1, label="dev")
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("step", fontsize=8)
        panel.set_ylabel("loss", fontsize=8)
        panel.set_ylim(bottom=0)
        panel.legend(fontsize=8, frameon=False)
    _hide(panels, len(names))
    return figure


def _weights(train: list[dict]) -> Any:
    """lambda of the objectives of every level over time, smoothed and stacked, and below gamma of every level under the first."""
    levels = list(dict.fromkeys(tuple(level) for line in train for level in line["levels"] if line["lambda"].keys() >= set(level)))
    levels = [level for level in levels if len(level) > 1] or levels[:1]
    gammas = list(dict.fromkeys(name for line in train for name in line["gamma"]))
    smoothed = f"; smoothed over about {SPAN} log lines" if len(train) > SPAN else ""
    rows = len(levels) + bool(gammas)
    figure, panels = _figure(rows, 1, 9.0, 2.9 * rows + 0.4)
    for panel, level in zip(panels, levels, strict=False):
        lines = [line for line in train if list(level) in line["levels"]]
        steps = [line["step"] for line in lines]
        shares = [_smooth([line["lambda"].get(name) or 0.0 for line in lines]) for name in level]
        colors = [_color(place) for place in range(len(level))]
        panel.stackplot(steps, shares, colors=colors, labels=level, edgecolor="white", linewidth=0.4)
        panel.set_title(f"weights lambda, stacked{smoothed}", fontsize=10)
        panel.set_ylabel("lambda", fontsize=9)
        panel.set_ylim(0, max(map(sum, zip(*shares, strict=True))) or 1.0)
        panel.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), reverse=True)
    if gammas:
        for name in gammas:
            panels[-1].plot(*_series(train, "gamma", name), linewidth=1.5, marker=".", markersize=3, label=name)
        panels[-1].set_title("gamma, the factor of a lower level's gradient", fontsize=10)
        panels[-1].set_ylabel("gamma", fontsize=9)
        panels[-1].set_ylim(bottom=0)
        panels[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for panel in panels:
        panel.set_xlim(train[0]["step"], max(train[-1]["step"], train[0]["step"] + 1))
    panels[-1].set_xlabel("step", fontsize=9)
    return figure


def _cosines(measured: list[dict]) -> Any:
    """The mean matrix over the last third of the run, and every pair over time: lines, or a strip each where they are many."""
    names = list(dict.fromkeys(name for line in measured for name in line["conflict"]["names"]))
    size = len(names)
    values = np.full((len(measured), size, size), np.nan)  # (L, M, M), nan where an objective had no gradient
    for line, value in zip(measured, values, strict=True):
        index = [names.index(name) for name in line["conflict"]["names"]]
        value[np.ix_(index, index)] = np.array(line["conflict"]["matrix"], dtype=float)
    steps = [line["step"] for line in measured]
    pairs = [(i, j) for j in range(size) for i in range(j)]
    lines = len(pairs) <= MOST_LINES
    figure, panels = _figure(1, 2, 8.0 + 0.75 * size, max(3.6, 0.55 * size + 1.8, 0 if lines else 0.145 * len(pairs) + 1.2))
    _matrix(panels[0], names, values[-max(1, len(measured) // 3) :])
    smooth = [_smooth(values[:, i, j].tolist()) for i, j in pairs]
    labels = [f"{names[i]} | {names[j]}" for i, j in pairs]
    _pair_lines(panels[1], steps, smooth, labels) if lines else _pair_strips(figure, panels[1], steps, smooth, labels)
    panels[1].set_title("each pair over time, smoothed", fontsize=10)
    panels[1].set_xlabel("step", fontsize=9)
    return figure


def _matrix(panel: Any, names: list[str], values: np.ndarray) -> None:
    """Mean over the lines that know a pair, values (L, M, M); pairs never measured stay empty."""
    known = ~np.isnan(values)
    mean = np.where(known.any(0), np.nansum(values, 0) / np.maximum(known.sum(0), 1), np.nan)
    panel.imshow(mean, vmin=-1, vmax=1, cmap="RdBu")
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    for (i, j), value in np.ndenumerate(mean):
        if not np.isnan(value):
            color = "white" if abs(value) > 0.6 else "black"
            panel.text(j, i, f"{value + 0.0:.2f}".replace("-0.00", "0.00"), ha="center", va="center", fontsize=7, color=color)
    panel.set_title("gradient cosines, mean of the last third", fontsize=10)
    panel.grid(False)


def _pair_lines(panel: Any, steps: list[int], values: list[list[float]], labels: list[str]) -> None:
    for number, (value, label) in enumerate(zip(values, labels, strict=True)):
        panel.plot(steps, value, color=_color(number), linewidth=1.5, label=label)
    panel.axhline(0, color="black", linewidth=0.6)
    panel.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _pair_strips(figure: Any, panel: Any, steps: list[int], values: list[list[float]], labels: list[str]) -> None:
    limit = max(0.05, float(np.nanmax(np.abs(values))))
    image = panel.pcolormesh(steps, range(len(labels)), np.array(values), vmin=-limit, vmax=limit, cmap="RdBu", shading="nearest")
    panel.set_yticks(range(len(labels)), labels, fontsize=7)
    panel.invert_yaxis()
    panel.grid(False)
    figure.colorbar(image, ax=panel, pad=0.01).ax.tick_params(labelsize=8)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, list]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(np.ravel(figure.subplots(rows, columns)))
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.tick_params(labelsize=8)
    return figure, panels


def _hide(panels: list, used: int) -> None:
    for panel in panels[used:]:
        panel.set_visible(False)


def _first_seen(lines: list[dict], key: str) -> Any:
    order = list(dict.fromkeys(name for line in lines for name in line[key]))
    return order.index


def _series(lines: list[dict], key: str, name: str) -> tuple[list[int], list[float]]:
    pairs = [(line["step"], line[key][name]) for line in lines if line[key].get(name) is not None]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _smooth(values: Sequence[float]) -> list[float]:
    """An exponential mean without the bias of its start; nan leaves it as it is."""
    mean, weight, smooth = 0.0, 0.0, []
    for value in values:
        if not math.isnan(value):
            mean, weight = (1 - 1 / SPAN) * mean + value / SPAN, (1 - 1 / SPAN) * weight + 1 / SPAN
        smooth.append(mean / weight if weight else math.nan)
    return smooth


def _color(number: int) -> Any:
    """Twenty colours, the ten strong ones first."""
    from matplotlib import colormaps

    return colormaps["tab20"]((2 * number) % 20 + (number // 10) % 2)
