"""Loaded data is compared with what is expected by name, shape, type and value."""

from __future__ import annotations

import math

import pytest
import torch

from m2asr.form import Misfit, check_form

EXPECTED = {"w": torch.zeros(3, 2), "step": 0, "rate": 0.5, "names": [], "weights": {}, "pair": [0, 1.0], "unknown": None}
SAVED = {"w": torch.ones(3, 2), "step": 7, "rate": 1, "names": ["a"], "weights": {"a": 1.0}, "pair": [3, 2.0], "unknown": {"x": 1}}


def test_equal_names_shapes_and_types_fit() -> None:
    check_form(SAVED, EXPECTED, "state")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("w", torch.ones(2, 3), r"state.w is a tensor \(2, 3\) of float32, a tensor \(3, 2\) of float32 is expected"),
        ("w", torch.ones(()), r"state.w is a tensor \(\)"),
        ("w", torch.ones(3, 2, dtype=torch.int64), "of int64"),
        ("w", torch.full((3, 2), math.nan), "state.w holds a number that is not finite"),
        ("w", [1.0], "state.w is list"),
        ("step", True, "state.step is bool, int is expected"),
        ("step", 1.5, "state.step is float"),
        ("rate", math.inf, "state.rate holds a number that is not finite"),
        ("names", {"a": 1}, "state.names is a mapping, list is expected"),
        ("pair", [1], "state.pair has 1 parts, 2 are expected"),
        ("pair", [1, "x"], "state.pair.1 is str, float is expected"),
        ("more", 1, "state.more is not expected"),
    ],
)
def test_what_does_not_fit_is_named(key: str, value: object, message: str) -> None:
    with pytest.raises(Misfit, match=message):
        check_form({**SAVED, key: value}, EXPECTED, "state")


def test_what_is_missing_is_named() -> None:
    saved = {key: value for key, value in SAVED.items() if key != "rate"}
    with pytest.raises(Misfit, match="state.rate is missing"):
        check_form(saved, EXPECTED, "state")
    check_form(saved, EXPECTED, "state", partial=True)
