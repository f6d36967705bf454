"""Pictures of a run from its train.jsonl: losses, weights and gamma, gradient cosines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2asr.files import open_atomic
from m2asr.train.log import read_log

SMOOTHING = 0.8


def draw(exp: Path) -> list[Path]:
    """Write plots/losses.png, weights.png and cosines.png, as far as the log has their numbers."""
    lines = read_log(exp)
    train = [line for line in lines if line["kind"] == "train"]
    dev = [line for line in lines if line["kind"] == "dev"]
    if not train:
        return []
    figures = {"losses": _losses(train, dev), "weights": _weights(train)}
    measured = [line for line in train if line.get("cosine")]
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
    """lambda of every objective over time, and gamma below."""
    names = sorted({name for line in train for name in line["lambda"]}, key=_first_seen(train, "lambda"))
    figure, panels = _figure(2, 1, 8.0, 5.2)
    for number, name in enumerate(names):
        x, y = _series(train, "lambda", name)
        panels[0].plot(x, y, color=_color(number), linewidth=1.5, label=name)
    panels[0].set_ylabel("lambda")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    panels[1].plot([line["step"] for line in train], [line["gamma"] for line in train], color="black", linewidth=1.5)
    panels[1].set_ylabel("gamma")
    panels[1].set_xlabel("step")
    panels[1].set_ylim(bottom=0)
    return figure


def _cosines(measured: list[dict]) -> Any:
    """The mean matrix over the last third of the run, and every pair over time."""
    names = max((line["cosine"]["names"] for line in measured), key=len)
    tail = [line["cosine"] for line in measured[-max(1, len(measured) // 3) :] if line["cosine"]["names"] == names]
    matrix = np.mean([np.array(one["matrix"], dtype=float) for one in tail or [measured[-1]["cosine"]]], axis=0)
    size = len(names)
    figure, panels = _figure(1, 2, 6.5 + 0.75 * size, max(3.6, 0.55 * size + 1.8))
    panel = panels[0]
    panel.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu")
    panel.set_xticks(range(size), names, rotation=45, ha="right", fontsize=8)
    panel.set_yticks(range(size), names, fontsize=8)
    for i in range(size):
        for j in range(size):
            panel.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", fontsize=7, color="white" if abs(matrix[i, j]) > 0.6 else "black")
    panel.set_title("gradient cosines, mean of the last third", fontsize=9)
    panel.grid(False)
    panel = panels[1]
    pairs = [(i, j) for i in range(size) for j in range(i)]
    for number, (i, j) in enumerate(pairs):
        x, y = [], []
        for line in measured:
            found = line["cosine"]
            if names[i] in found["names"] and names[j] in found["names"]:
                x.append(line["step"])
                y.append(found["matrix"][found["names"].index(names[i])][found["names"].index(names[j])])
        panel.plot(x, _smooth(y), color=_color(number), linewidth=1.2, label=f"{names[j]} | {names[i]}")
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_xlabel("step")
    panel.set_title("over time, smoothed", fontsize=9)
    if len(pairs) <= 24:
        panel.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=1 + (len(pairs) > 12))
    return figure


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
    """An exponential mean without the bias of its start."""
    mean, weight, smooth = 0.0, 0.0, []
    for value in values:
        mean, weight = SMOOTHING * mean + (1 - SMOOTHING) * value, SMOOTHING * weight + (1 - SMOOTHING)
        smooth.append(mean / weight)
    return smooth


def _color(number: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab20"](number % 20)
