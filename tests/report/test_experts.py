"""The report on experts: what specialization is, and what is written."""

from __future__ import annotations

import json

import matplotlib.image
import numpy as np
import pytest
import torch

from m2asr.decode.expert_use import Use
from m2asr.report.expert_loads import loads_of, plot_loads
from m2asr.report.experts import specialization, write_report

BY_HAND = (-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) - 0.5 * np.log(2)) / np.log(2)  # H(expert) - H(expert | language), over log 2


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([[0.5, 0.5], [0.5, 0.5]], 0.0),
        ([[1.0, 0.0], [0.0, 1.0]], 1.0),
        ([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], 1.0),
        ([[1.0, 0.0], [0.5, 0.5]], BY_HAND),
    ],
)
def test_specialization(shares, expected):
    assert specialization(np.array(shares)) == pytest.approx(expected, abs=1e-12)


def test_one_language_has_no_specialization():
    assert np.isnan(specialization(np.array([[0.2, 0.8]])))


def used(counts: list[float], entropy: float = 1.0) -> Use:
    return Use(torch.tensor(counts), int(sum(counts)), entropy * sum(counts))


@pytest.mark.parametrize("count", [2, 8, 32])
def test_what_is_written(tmp_path, count):
    even = [10.0] * count
    dead = [20.0 * count, *[0.0] * (count - 1)]
    use = {f"router{number}": {"en": used(even), "it": used(dead if number == 3 else even, 0.5)} for number in (1, 2, 3)}
    text = write_report(use, tmp_path / "exp")
    assert "# exp: experts" in text and "| router1 | 0.75 | 1.00 | 1.00 | 0 | 0.00 |" in text
    loads = json.loads((tmp_path / "exp/experts/experts.json").read_text())
    assert loads["router3"]["it"] == {"shares": [1.0, *[0.0] * (count - 1)], "entropy": 0.5, "states": 20 * count}
    image = matplotlib.image.imread(tmp_path / "exp/experts/experts.png")
    assert image.shape[0] > 150 and image.shape[1] > 300 and image.std() > 0.02


def test_loads_while_a_run_trains(tmp_path):
    lines = [
        {"step": 20 * number, "metrics": {"balance": {"load_router2": [0.1 * number, 1 - 0.1 * number], "entropy_router2": 1.0}, "ctc": {}}}
        for number in range(1, 4)
    ]
    loads = loads_of(lines)
    assert loads == {"balance, router2": ([20, 40, 60], [pytest.approx([0.1 * number, 1 - 0.1 * number]) for number in range(1, 4)])}
    plot_loads(loads).savefig(tmp_path / "loads.png")
    assert matplotlib.image.imread(tmp_path / "loads.png").std() > 0.02
    assert loads_of([{"step": 1, "metrics": {"ctc": {"unrepresentable": 0.0}}}]) == {}
