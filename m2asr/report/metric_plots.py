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


def plot_metrics(train: Sequence[dict], dev: Sequence[dict]) -> Any:
    """Draw a panel for the errors of all objectives, and for the accuracies, perplexities and entropies of each; None without any."""
    panels: list[Callable[[Any], None]] = []
    if any(ERROR in metrics for line in dev for metrics in line["metrics"].values()):
        panels.append(lambda panel: _errors(panel, dev))
    for name in dict.fromkeys(name for line in train for name in line["metrics"]):
        metrics = dict.fromkeys(metric for line in train for metric in line["metrics"].get(name, {}))
        shares = [metric for metric in metrics if metric in SHARES + GUESSES]
        if set(shares) & set(SHARES):
            panels.append(lambda panel, name=name, shares=shares: _shares(panel, train, dev, name, shares))
        for kind, title in COUNTS.items():
            if counts := [metric for metric in metrics if metric == kind or metric.startswith(f"{kind}_")]:
                panels.append(lambda panel, name=name, counts=counts, title=title: _counts(panel, train, name, counts, title))
    if not panels:
        return None
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, drawn = new_figure(rows, columns, max(6.0, 4.6 * columns), 2.9 * rows + 0.4)
    for panel, plot in zip(drawn, panels, strict=False):
        plot(panel)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("step", fontsize=8)
        panel.legend(fontsize=7, frameon=False)
    hide(drawn, len(panels))
    return figure


def _errors(panel: Any, dev: Sequence[dict]) -> None:
    names = [name for line in dev for name, metrics in line["metrics"].items() if ERROR in metrics]
    for number, name in enumerate(dict.fromkeys(names)):
        panel.plot(*_series(dev, name, ERROR), color=color_of(number), marker="o", markersize=3, linewidth=1.2, label=name)
    panel.set_title("error on the dev sets", fontsize=10)


def _shares(panel: Any, train: Sequence[dict], dev: Sequence[dict], name: str, metrics: Sequence[str]) -> None:
    """Draw shares in training, smoothed, with what a guess reaches as dotted lines, and those on the dev sets as points."""
    for number, metric in enumerate(metrics):
        _line(panel, train, name, metric, number, ":" if metric in GUESSES else "-", metric)
        steps, values = _series(dev, name, metric)
        if steps and metric in SHARES:
            panel.plot(steps, values, "o", color=color_of(number), markersize=4, label=f"{metric}, dev")
    panel.set_title(f"{name}: {' and '.join(metric for metric in metrics if metric in SHARES)}", fontsize=10)


def _counts(panel: Any, train: Sequence[dict], name: str, metrics: Sequence[str], title: str) -> None:
    """Draw what is measured of all and of each part, such as a language or a block."""
    for number, metric in enumerate(metrics):
        _line(panel, train, name, metric, number, "-", metric.partition("_")[2] or "all")
    panel.set_title(f"{name}: {title}", fontsize=10)


def _line(panel: Any, train: Sequence[dict], name: str, metric: str, number: int, style: str, label: str) -> None:
    steps, values = _series(train, name, metric)
    panel.plot(steps, smooth(values), style, color=color_of(number), linewidth=1.5, label=label)


def _series(lines: Sequence[dict], name: str, metric: str) -> tuple[list[int], list[float]]:
    """The steps and the values of a metric in those lines that have it."""
    pairs = [(line["step"], line["metrics"].get(name, {}).get(metric)) for line in lines]
    return [step for step, value in pairs if value is not None], [value for _, value in pairs if value is not None]
