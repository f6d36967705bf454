"""The picture of how the loads of experts change while a run trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from m2asr.report.panels import new_figure, plot_strips

PREFIX = "load_"  # of the metrics of an objective of the type balance
Loads = dict[str, tuple[list[int], list[list[float]]]]
MOST = 3.0  # equal shares: the end of the scale of colours


def loads_of(train: Sequence[dict]) -> Loads:
    """By objective and router the steps, and the shares of choices (steps, E) of the experts, from the lines of a log."""
    loads: Loads = {}
    for line in train:
        for name, metrics in line["metrics"].items():
            for metric, shares in metrics.items():
                if metric.startswith(PREFIX):
                    steps, rows = loads.setdefault(f"{name}, {metric.removeprefix(PREFIX)}", ([], []))
                    steps.append(line["step"])
                    rows.append(shares)
    return loads


def plot_loads(loads: Loads) -> Any:
    """Draw a panel per router, with a strip for each expert."""
    count = max(len(rows[0]) for _, rows in loads.values())
    figure, panels = new_figure(len(loads), 1, 9.0, len(loads) * (0.14 * count + 0.9) + 0.5)
    figure.suptitle(f"load of each expert, as a multiple of an equal share (colours end at {MOST:g})", fontsize=10)
    for panel, (name, (steps, rows)) in zip(panels, loads.items(), strict=True):
        values = np.array(rows).T * len(rows[0])  # (E, steps)
        labels = [str(number) if count <= 16 or number % 8 == 0 else "" for number in range(len(values))]
        plot_strips(panel, steps, values.tolist(), labels, vmin=0, vmax=MOST)
        panel.set_title(name, fontsize=10)
        panel.set_ylabel("expert", fontsize=9)
    panels[-1].set_xlabel("step", fontsize=9)
    return figure
