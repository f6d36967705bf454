"""Weights within groups from the gradients at states, and between groups from those of the parameters."""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.build import build_level
from m2asr.moo.feature_level import FeatureLevel
from m2asr.moo.gradients import GradientBuffers
from m2asr.moo.min_norm import min_norm_weights
from m2asr.train_config import Level, Weighting
from tests.moo.filled import fill

NAMES = ["a", "b", "c"]
READS = {"a": "x", "b": "y", "c": "x"}


def level(apart=False, **weighting):
    """a and c read the same states; 2 groups and, with `apart`, 3 objectives have rows of 40 numbers beside row 0."""
    section = Level(objectives=NAMES, weighting=Weighting(**{"type": "mgda", "gradients": "features"} | weighting))
    built = build_level(section, apart, READS)
    buffers = GradientBuffers([torch.nn.Parameter(torch.zeros(40, dtype=torch.float64))], 1 + built.rows)
    built.settle(buffers, 1, {})
    return built


def gradients(count=3, seed=0):
    return torch.randn(count, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.3


def test_objectives_that_read_the_same_are_a_group():
    built = level()
    assert isinstance(built, FeatureLevel) and built.groups == [["a", "c"], ["b"]]
    assert built.rows == 2 and level(apart=True).rows == 5
    exact = build_level(Level(objectives=NAMES, weighting=Weighting(type="mgda")), False, {})
    assert not isinstance(exact, FeatureLevel) and exact.rows == 3


def test_weights_are_products():
    built, rows = level(), gradients(2)
    states = gradients(2, seed=1)
    within = dict(zip("ac", built.weigh_group(["a", "c"], states @ states.T).tolist(), strict=True)) | {"b": 1.0}
    assert torch.allclose(torch.tensor([within["a"], within["c"]], dtype=torch.float64), min_norm_weights(states @ states.T))
    fill(built.buffers, rows, 1)
    assert built.take_in_groups(list("abc")) == []
    found = built.merge_groups(within, factor=0.5)
    first, second = min_norm_weights(rows @ rows.T).tolist()
    assert found == pytest.approx({"a": within["a"] * first, "b": second, "c": within["c"] * first})
    assert torch.allclose(built.buffers.row(0), 0.5 * (first * rows[0] + second * rows[1]), rtol=1e-12)


def test_groups_that_are_away_get_no_weight():
    built = level()
    fill(built.buffers, gradients(1), 1)
    assert built.take_in_groups(["c"]) == []
    assert built.merge_groups({"c": 1.0}, factor=1.0) == {"a": 0.0, "b": 0.0, "c": 1.0}
    assert torch.equal(built.buffers.row(0), built.buffers.row(1))


def test_the_deviation_compares_with_flat_weights_and_moves_no_state():
    built = level(apart=True, type="pcgrad")
    rows = gradients()
    rows[1] -= 2 * rows[0]
    fill(built.buffers, rows, 3)
    before = built.state_dict()
    exact = level(type="pcgrad").weighting.weights(rows @ rows.T).tolist()
    assert built.deviation(dict(zip(NAMES, exact, strict=True)), NAMES) == 0
    assert built.deviation(dict(zip(NAMES, [exact[0], exact[1] + 0.25, exact[2]], strict=True)), NAMES) == pytest.approx(0.25)
    assert built.state_dict() == before


def test_gradients_that_are_not_finite_get_no_weights():
    built = level()
    assert built.weigh_group(["a", "c"], torch.tensor([[1.0, torch.nan], [torch.nan, torch.inf]])).isnan().all()
    built.buffers.row(1)[7] = torch.inf
    assert built.take_in_groups(["a", "b"]) == ["a"]


def test_the_state_of_both_stages_is_kept():
    """PCGrad's random orders follow its count of steps, which differ between the stages."""
    one, other, states = level(type="pcgrad"), level(type="pcgrad"), gradients(2, seed=2)
    for built in (one, other):
        fill(built.buffers, gradients(2), 1)
    for _ in range(3):
        one.weigh_group(["a", "c"], states @ states.T)
    one.take_in_groups(list("abc"))
    one.merge_groups({"a": 0.5, "b": 1.0, "c": 0.5}, 1.0)
    other.load_state_dict(one.state_dict())
    assert other.state_dict() == one.state_dict() and one.state_dict()["weighting"] != one.state_dict()["across"]
    with pytest.raises(UserError):
        level(type="mgda").load_state_dict(one.state_dict())
