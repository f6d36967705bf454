"""The plots are drawn from any log a run can leave."""

from __future__ import annotations

import json
import math

import matplotlib.image
import numpy as np
import pytest

from m2asr.train.plots import _smooth, draw
from tests.conftest import command


def write_log(exp, upper: int, lower: bool, steps: int = 12, cosines: bool = True) -> None:
    names = [f"asr_{number}" for number in range(upper)]
    both = [*names, "cpc"] if lower else names
    with open(exp / "train.jsonl", "w") as file:
        for step in range(1, steps + 1):
            known = both if step > 2 else names  # gamma is 0 at first, so that cpc has no cosine yet
            line = {"kind": "train", "step": step, "epoch": 1, "loss": {name: 3 / step for name in both}}
            line["gamma"] = {"cpc": 0.01 * step} if lower else {}
            line["levels"] = [names, ["cpc"]] if lower else [names]
            line["lambda"] = {name: 1 / upper for name in names}
            if cosines:
                line["conflict"] = {"names": known, "matrix": np.eye(len(known)).tolist()}
            file.write(json.dumps(line) + "\n")
        file.write(json.dumps({"kind": "dev", "step": steps, "epoch": 1, "loss": {names[0]: 1.0}, "metrics": {}, "select": None}) + "\n")


@pytest.mark.parametrize(("upper", "lower", "steps"), [(2, False, 1), (2, False, 12), (3, True, 4), (11, True, 12)])
def test_runs_of_every_size_have_pictures_with_something_in_them(tmp_path, upper, lower, steps):
    write_log(tmp_path, upper, lower, steps)
    written = draw(tmp_path)
    assert [path.name for path in written] == ["losses.png", "weights.png", "cosines.png"]
    for path in written:
        image = matplotlib.image.imread(path)
        assert image.shape[0] > 200 and image.shape[1] > 300 and image.std() > 0.02


def test_without_measured_cosines_there_is_no_matrix(tmp_path):
    write_log(tmp_path, 1, False)
    assert [path.name for path in draw(tmp_path)] == ["losses.png", "weights.png"]
    write_log(tmp_path, 2, False, cosines=False)
    assert [path.name for path in draw(tmp_path)] == ["losses.png", "weights.png"]


def test_values_that_were_not_finite_leave_a_gap(tmp_path):
    write_log(tmp_path, 2, True)
    text = (tmp_path / "train.jsonl").read_text().replace("0.5}", "null}").replace("3.0", "null")
    (tmp_path / "train.jsonl").write_text(text)
    assert len(draw(tmp_path)) == 3


def test_smoothing_keeps_a_constant_and_passes_over_gaps():
    assert _smooth([2.0] * 5) == pytest.approx([2.0] * 5)
    assert _smooth([math.nan, 1.0, math.nan])[1:] == pytest.approx([1.0, 1.0])
    assert 0 < _smooth([0.0, 1.0])[1] < 1


def test_the_command(tmp_path):
    done = command("plot", "--exp", tmp_path)
    assert done.returncode == 1 and "train.jsonl" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    write_log(tmp_path, 2, True)
    done = command("plot", "--exp", tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "plots/losses.png") in done.stdout
