"""Weights within groups from the gradients at states, and between groups from those of the parameters."""

from __future__ import annotations

import math

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.build import build_level
from m2asr.moo.feature_level import FeatureLevel
from m2asr.moo.gramian import Products
from m2asr.moo.min_norm import min_norm_weights
from m2asr.moo.rows import GradientRows
from m2asr.train_config import Level, Weighting
from tests.moo.filled import fill

NAMES = ["a", "b", "c"]
READS = {"a": "x", "b": "y", "c": "x"}


def level(apart=False, **weighting):
    """a and c read the same states, so there are two groups."""
    section = Level(objectives=NAMES, weighting=Weighting(**{"type": "mgda", "gradients": "features"} | weighting))
    return build_level(section, apart, READS)


def rows_of():
    return GradientRows([torch.nn.Parameter(torch.zeros(48, dtype=torch.float64))])


def solve(built, values, within, active=NAMES):
    """The weights and the terms of a step in which the groups' merged gradients are `values`."""
    rows = rows_of()
    fill(rows, values, [built.merged(names) for names in built.groups])
    pairs = built.pairs(active)
    products = Products(pairs, rows.inner_products(pairs))
    assert built.not_finite(products, active) == []
    return built.solve(products, active, {}, within)


def gradients(count=3, seed=0):
    return torch.randn(count, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.3


def test_objectives_that_read_the_same_are_a_group():
    built = level()
    assert isinstance(built, FeatureLevel) and built.groups == [["a", "c"], ["b"]]
    assert built.count == 2 and level(apart=True).count == 5
    exact = build_level(Level(objectives=NAMES, weighting=Weighting(type="mgda")), False, {})
    assert not isinstance(exact, FeatureLevel) and exact.count == 3


def test_weights_are_products():
    built, values = level(), gradients(2)
    states = gradients(2, seed=1)
    within = built.weigh_states(["a", "c"], states @ states.T) | {"b": 1.0}
    assert [within["a"], within["c"]] == pytest.approx(min_norm_weights(states @ states.T).tolist())
    solution = solve(built, values, within)
    first, second = min_norm_weights(values @ values.T).tolist()
    assert solution.weights == pytest.approx({"a": within["a"] * first, "b": second, "c": within["c"] * first})
    assert solution.sums == [pytest.approx({built.merged(["a", "c"]): first, built.merged(["b"]): second})]


def test_groups_that_are_away_get_no_weight():
    built = level()
    solution = solve(built, gradients(1).repeat(2, 1), {"c": 1.0}, active=["c"])
    assert solution.weights == {"a": 0.0, "b": 0.0, "c": 1.0} and solution.sums == [{built.merged(["a", "c"]): 1.0}]


def test_the_deviation_compares_with_flat_weights_and_moves_no_state():
    built, values = level(apart=True, type="pcgrad"), gradients()
    values[1] -= 2 * values[0]
    before, products = built.state_dict(rows_of()), values @ values.T
    exact = level(type="pcgrad").weighting.weights(products).tolist()
    assert built.deviation(dict(zip(NAMES, exact, strict=True)), NAMES, products) == 0
    assert built.deviation(dict(zip(NAMES, [exact[0], exact[1] + 0.25, exact[2]], strict=True)), NAMES, products) == pytest.approx(0.25)
    assert built.state_dict(rows_of()) == before


def test_gradients_that_are_not_finite_get_no_weights():
    built = level()
    weights = built.weigh_states(["a", "c"], torch.tensor([[1.0, torch.nan], [torch.nan, torch.inf]]))
    assert weights["a"] == 0 and math.isnan(weights["c"])  # which is the one to be named
    rows, pairs = rows_of(), built.pairs(["a", "b"])
    rows.row(built.merged(["a", "c"]))[7] = torch.inf
    assert built.not_finite(Products(pairs, rows.inner_products(pairs)), ["a", "b"]) == ["a"]


def test_the_state_of_both_stages_is_kept():
    """PCGrad's random orders follow its count of steps, which differ between the stages."""
    one, other, states = level(type="pcgrad"), level(type="pcgrad"), gradients(2, seed=2)
    for _ in range(3):
        one.weigh_states(["a", "c"], states @ states.T)
    solve(one, gradients(2), {"a": 0.5, "b": 1.0, "c": 0.5})
    state = one.state_dict(rows_of())
    other.load_state_dict(state, rows_of())
    assert other.state_dict(rows_of()) == state and state["weighting"] != state["across"]
    with pytest.raises(UserError):
        level(type="mgda").load_state_dict(state, rows_of())


def test_a_weighting_that_needs_more_groups_says_so():
    with pytest.raises(UserError, match="weighting.gradients: `features` merges 2 groups .* at least 3 .* set `gradients: exact`"):
        level(type="krum")
