"""Pictures of a run from its train.jsonl: losses and metrics, weights lambda and gamma, cosines and conflicts, and loads of experts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from m2asr.files import open_atomic
from m2asr.report.conflict_plots import plot_conflicts, plot_cosines
from m2asr.report.expert_loads import loads_of, plot_loads
from m2asr.report.log import read_log
from m2asr.report.metric_plots import plot_metrics
from m2asr.report.panels import SPAN, color_of, hide, new_figure, smooth


def draw(exp: Path) -> list[Path]:
    """Write plots/losses.png, metrics.png, weights.png, cosines.png, conflicts.png and experts.png, and return their paths.

    A picture whose numbers are not in the log is left out.
    """
    lines = read_log(exp)
    train = [line for line in lines if line["kind"] == "train"]
    dev = [line for line in lines if line["kind"] == "dev"]
    if not any(line["loss"] for line in train):  # there was no step yet, or no utterance had a target
        return []
    figures = {"losses": _losses(train, dev), "metrics": plot_metrics(train, dev), "weights": _weights(train)}
    figures = {name: figure for name, figure in figures.items() if figure is not None}
    measured = [line for line in train if line.get("conflict") and len(line["conflict"]["names"]) > 1]
    if measured:
        figures |= {"cosines": plot_cosines(measured), "conflicts": plot_conflicts(measured)}
    if loads := loads_of(train):
        figures["experts"] = plot_loads(loads)
    paths = []
    for name, figure in figures.items():
        path = exp / "plots" / f"{name}.png"
        with open_atomic(path, "wb") as file:
            figure.savefig(file, format="png", dpi=110)
        paths.append(path)
    return paths


def _losses(train: list[dict], dev: list[dict]) -> Any:
    """Draw a panel per objective: the training loss, raw and smoothed, and the development loss."""
    names = list(dict.fromkeys(name for line in train for name in line["loss"]))
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure, panels = new_figure(rows, columns, 4.2 * columns, 2.6 * rows + 0.4)
    for panel, name in zip(panels, names, strict=False):
        x, y = _series(train, "loss", name)
        panel.plot(x, y, color="tab:blue", alpha=0.25, linewidth=0.8)
        panel.plot(x, smooth(y), color="tab:blue", linewidth=1.6, label="train")
        x, y = _series(dev, "loss", name)
        if x:
            panel.plot(x, y, color="tab:orange", marker="o", markersize=3, linewidth=1, label="dev")
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("step", fontsize=8)
        panel.set_ylabel("loss", fontsize=8)
        panel.set_ylim(bottom=0)
        panel.legend(fontsize=8, frameon=False)
    hide(panels, len(names))
    return figure


def _weights(train: list[dict]) -> Any:
    """Draw lambda of the objectives of every level, smoothed and stacked, and below them gamma of every level after the first."""
    levels = list(dict.fromkeys(tuple(level) for line in train for level in line["levels"] if line["lambda"].keys() >= set(level)))
    levels = [level for level in levels if len(level) > 1] or levels[:1]
    gammas = list(dict.fromkeys(name for line in train for name in line["gamma"]))
    smoothed = f"; smoothed over about {SPAN} log lines" if len(train) > SPAN else ""
    rows = len(levels) + bool(gammas)
    figure, panels = new_figure(rows, 1, 9.0, 2.9 * rows + 0.4)
    for panel, level in zip(panels, levels, strict=False):
        lines = [line for line in train if list(level) in line["levels"]]
        steps = [line["step"] for line in lines]
        shares = [smooth([line["lambda"].get(name) or 0.0 for line in lines]) for name in level]
        colors = [color_of(number) for number in range(len(level))]
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


def _series(lines: list[dict], key: str, name: str) -> tuple[list[int], list[float]]:
    """The steps and the values of a name in those lines that have a value."""
    pairs = [(line["step"], line[key][name]) for line in lines if line[key].get(name) is not None]
    return [x for x, _ in pairs], [y for _, y in pairs]
