"""The picture of what objectives measure beside losses: errors, accuracies and those of a guess, the use of codes, choices of routers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from m2asr.report.panels import color_of, hide, new_figure, smooth

ERROR = "error"  # of token sequences, measured on dev sets alone
SHARES = ("accuracy", "agreement")
GUESSES = ("chance", "majority")  # what a guess reaches of them: of any candidate, and of the most frequent code
COUNTS = {"perplexity": "perplexity of codes or tokens", "entropy": "entropy of routers, in nats"}
COLUMNS = 3
Draw = Callable[[Any], None]


def plot_metrics(train: Sequence[dict], dev: Sequence[dict]) -> Any:
    """Draw a panel for the errors of all objectives, and for the accuracies, perplexities and entropies of each; None without any."""
    plots = [*_errors(dev), *_shares(train, dev), *_counts(train)]
    if not plots:
        return None
    columns = min(COLUMNS, len(plots))
    rows = math.ceil(len(plots) / columns)
    figure, panels = new_figure(rows, columns, max(6.0, 4.6 * columns), 2.9 * rows + 0.4)
    for panel, (title, draw) in zip(panels, plots, strict=False):
        draw(panel)
        panel.set_title(title, fontsize=10)
        panel.set_xlim(0, 1.03 * train[-1]["step"])
        panel.set_ylim(bottom=0)
        panel.set_xlabel("step", fontsize=8)
        panel.legend(fontsize=7, frameon=False)
    hide(panels, len(plots))
    return figure


def _errors(dev: Sequence[dict]) -> list[tuple[str, Draw]]:
    """A panel with the errors of all objectives on the dev sets."""
    names = dict.fromkeys(name for line in dev for name, metrics in line["metrics"].items() if ERROR in metrics)

    def draw(panel: Any) -> None:
        for number, name in enumerate(names):
            panel.plot(*_series(dev, name, ERROR), color=color_of(number), marker="o", markersize=3, linewidth=1.2, label=name)

    return [("error on the dev sets", draw)] if names else []


def _shares(train: Sequence[dict], dev: Sequence[dict]) -> list[tuple[str, Draw]]:
    """A panel per objective with its shares in training, smoothed, those of a guess as dotted lines, and those on dev sets as points."""

    def draw(panel: Any, name: str, metrics: Sequence[str]) -> None:
        for number, metric in enumerate(metrics):
            steps, values = _series(train, name, metric)
            style, color = ":" if metric in GUESSES else "-", color_of(number)
            panel.plot(steps, smooth(values), style, color=color, linewidth=1.5, label=metric)
            steps, values = _series(dev, name, metric)
            if steps and metric in SHARES:
                panel.plot(steps, values, "o", color=color, markersize=4, label=f"{metric}, dev")

    plots: list[tuple[str, Draw]] = []
    for name, measured in _measured(train).items():
        metrics = [metric for metric in (*SHARES, *GUESSES) if metric in measured]
        if shares := [metric for metric in metrics if metric in SHARES]:
            plots.append((f"{name}: {' and '.join(shares)}", lambda panel, name=name, metrics=metrics: draw(panel, name, metrics)))
    return plots


def _counts(train: Sequence[dict]) -> list[tuple[str, Draw]]:
    """A panel per objective and kind of count, smoothed, with a line for all and for each part, such as a language or a block.

    Objectives with equal numbers, such as those that read the same codes, share a panel.
    """
    names: dict[tuple[str, tuple], list[str]] = {}
    for name, measured in _measured(train).items():
        for kind, title in COUNTS.items():
            metrics = [metric for metric in measured if metric == kind or metric.startswith(f"{kind}_")]
            lines = tuple((metric.partition("_")[2] or "all", *map(tuple, _series(train, name, metric))) for metric in metrics)
            if lines:
                names.setdefault((title, lines), []).append(name)

    def draw(panel: Any, lines: tuple) -> None:
        for number, (label, steps, values) in enumerate(lines):
            panel.plot(steps, smooth(values), color=color_of(number), linewidth=1.5, label=label)

    return [(f"{', '.join(users)}: {title}", lambda panel, lines=lines: draw(panel, lines)) for (title, lines), users in names.items()]


def _measured(train: Sequence[dict]) -> dict[str, list[str]]:
    """The metrics of every objective in a log."""
    measured: dict[str, dict[str, None]] = {}
    for line in train:
        for name, metrics in line["metrics"].items():
            measured.setdefault(name, {}).update(dict.fromkeys(metrics))
    return {name: list(metrics) for name, metrics in measured.items()}


def _series(lines: Sequence[dict], name: str, metric: str) -> tuple[list[int], list[float]]:
    """The steps and the values of a metric in those lines that have it."""
    pairs = [(line["step"], line["metrics"].get(name, {}).get(metric)) for line in lines]
    return [step for step, value in pairs if value is not None], [value for _, value in pairs if value is not None]
