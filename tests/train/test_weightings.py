"""Every kind of weighting state in a real run: trained, cut off and resumed bit for bit."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from tests.train import recipe

WEIGHTINGS = {
    "moco": {"type": "moco", "beta": 0.5},
    "famo": {"type": "famo"},
    "reused": {"type": "mgda", "normalize": "loss+", "every": 3},
    "layers": {"type": "modo", "layers": "conflicting"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_runs_are_resumed_bit_for_bit(name, mini_data, mini_dump, tmp_path):
    exp, config = tmp_path / "exp", copy.deepcopy(recipe.SMALL)
    config["weighting"] = WEIGHTINGS[name]
    config["train"] |= {"epochs": 1, "select": "last"}
    path = recipe.prepare(exp, mini_data, config)
    found = []
    for _ in range(2):
        done = recipe.train(exp, path, mini_data, mini_dump)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in (exp / "train.jsonl").read_text().splitlines()]
        found.append((torch.load(exp / "model.pt", weights_only=True)["model"], [(line.get("loss"), line.get("lambda")) for line in lines]))
        last = exp / "checkpoints/last.pt"
        last.write_bytes(last.read_bytes()[:1000])  # the run goes on from the checkpoint before
    (one, log), (other, resumed_log) = found
    assert "previous.pt" in done.stderr
    assert log == resumed_log
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    weights = [line[1] for line in log if line[1]]
    assert len(weights) > 1 and all(sum(one.values()) == pytest.approx(1) for one in weights)


def test_options_that_do_not_go_together_are_one_line(mini_data, mini_dump, tmp_path):
    exp, config = tmp_path / "exp", copy.deepcopy(recipe.SMALL)
    config["weighting"] = {"type": "static", "normalize": "l2"}
    done = recipe.train(exp, recipe.prepare(exp, mini_data, config), mini_data, mini_dump)
    assert done.returncode == 1
    assert "weighting.normalize" in done.stderr and len(done.stderr.strip().splitlines()) == 1
