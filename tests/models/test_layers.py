"""Dropout from random bytes."""

from __future__ import annotations

import pytest
import torch

from m2asr.models.layers import Dropout, round_length, valid_positions


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    dropped = Dropout(0.1)(torch.ones(1000, 1001, dtype=dtype)).double()
    zeros = (dropped == 0).double()
    assert abs(zeros.mean() - 26 / 256) < 2e-3
    assert (zeros.mean(0) - 26 / 256).abs().max() < 0.06  # no column and no row is favoured
    assert (zeros.mean(1) - 26 / 256).abs().max() < 0.06
    assert abs(dropped.mean() - 1) < 5e-3


def test_masks_of_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    zeros = (Dropout(0.5)(torch.ones(1_000_003)) == 0).double() - 0.5
    for lag in (1, 2, 7, 8, 64):
        assert abs((zeros[lag:] * zeros[:-lag]).mean()) < 2e-3


def test_gradient_passes_where_values_do() -> None:
    x = torch.randn(40, 30, dtype=torch.float64, requires_grad=True)
    dropped = Dropout(0.25)(x)
    dropped.sum().backward()
    torch.testing.assert_close(dropped, x * x.grad)
    assert set(x.grad.unique().tolist()) == {0.0, 256 / 192}


def test_add_is_a_weighted_sum_with_dropout() -> None:
    dropout = Dropout(0.25)
    x, y = torch.randn(2, 50, 30, dtype=torch.float64).unbind(0)
    torch.manual_seed(3)
    added = dropout.add(x, y, 0.5)
    torch.manual_seed(3)
    torch.testing.assert_close(added, x + 0.5 * dropout(y))
    dropout.eval()
    torch.testing.assert_close(dropout.add(x, y, 0.5), x + 0.5 * y)
    assert dropout(y) is y


def test_valid_positions_are_those_before_the_padding() -> None:
    assert valid_positions(torch.tensor([3, 1, 0]), 3).tolist() == [[True, True, True], [True, False, False], [False, False, False]]


def test_lengths_are_rounded_to_few_that_are_hardly_longer() -> None:
    rounded = [round_length(size) for size in range(1, 4097)]
    for size, more in enumerate(rounded, 1):
        assert size <= more <= max(size + 3, size * 17 / 16) and more % 4 == 0
    assert len(set(rounded)) == 32 + 5 * 16
    assert rounded == sorted(rounded) and round_length(0) == 0


@pytest.mark.parametrize("rate", [0.998, 0.9999999])
def test_rates_close_to_one_drop_nearly_everything(rate: float) -> None:
    torch.manual_seed(1)
    dropped = Dropout(rate)(torch.ones(100_000))
    assert 0.99 < (dropped == 0).float().mean() < 1 and abs(dropped.mean() - 1) < 0.2
