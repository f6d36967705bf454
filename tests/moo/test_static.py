from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.rows import GradientRows
from m2asr.moo.static import Static
from tests.moo.filled import noise

NAMES = ["a", "b", "c"]


def test_default_is_the_plain_sum_bit_for_bit() -> None:
    weighting = Static(NAMES)
    assert not weighting.dynamic and weighting.draws == 1
    weights = weighting.weights()
    assert weights.tolist() == [1, 1, 1]
    rows = GradientRows([torch.nn.Parameter(torch.zeros(50))])
    noise(rows, 3)
    rows.merge(dict(enumerate(weights.tolist())), into="sum")
    assert torch.equal(rows.row("sum"), rows.row(0) + rows.row(1) + rows.row(2))


def test_equal_is_the_mean_over_active_objectives() -> None:
    weighting = Static(NAMES, weights="equal")
    assert weighting.weights(active=[0, 2]).tolist() == [0.5, 0, 0.5]
    assert abs(weighting.weights().sum() - 1) < 1e-15


def test_given_weights_stay_as_given() -> None:
    weighting = Static(NAMES, weights={"c": 0.25, "a": 2, "b": 0})
    assert weighting.weights().tolist() == [2, 0, 0.25]
    assert weighting.weights(active=[2]).tolist() == [0, 0, 0.25]


@pytest.mark.parametrize(
    "weights, message", [({"a": 1.0, "b": 1.0}, "weights.c: missing"), ({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}, "weights.d: no such")]
)
def test_weights_must_match_the_objectives(weights: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Static(NAMES, weights=weights)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_must_be_numbers_from_zero(weight: float) -> None:
    with pytest.raises(UserError, match="weights.b"):
        Static(NAMES, weights={"a": 1.0, "b": weight, "c": 1.0})
