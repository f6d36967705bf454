from __future__ import annotations

import pytest
import torch

from m2asr.moo.min_norm import kkt_residual, min_norm_weights

CASES = ["random", "shared", "duplicates", "low rank", "near duplicates", "unequal lengths", "one zero", "all zero"]


def gradients(case: str, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = 2 + seed % 9
    rows = torch.randn(size, 12, dtype=torch.float64, generator=generator)
    half = size // 2
    if case == "shared":
        rows += 2
    elif case == "duplicates":
        rows[:half] = rows[-half:]
    elif case == "low rank":
        rows[:, 2:] = 0
    elif case == "near duplicates":
        rows[:half] = rows[-half:] + 1e-7 * rows[:half]
    elif case == "unequal lengths":
        rows *= torch.logspace(-6, 6, size, dtype=torch.float64)[:, None]
    elif case == "one zero":
        rows[0] = 0
    elif case == "all zero":
        rows[:] = 0
    return rows


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])  # of the gradients: 1e-12 to 1e12 for the Gramian
def test_weights_are_optimal(case: str, scale: float) -> None:
    for seed in range(20):
        rows = scale * gradients(case, seed)
        weights = min_norm_weights(rows @ rows.T)
        assert (weights >= 0).all() and abs(weights.sum() - 1) < 1e-12
        assert kkt_residual(rows @ rows.T, weights) <= 1e-8


def test_kkt_residual_sees_wrong_weights() -> None:
    rows = gradients("random", 3)
    even = torch.full((len(rows),), 1 / len(rows), dtype=torch.float64)
    assert kkt_residual(rows @ rows.T, even) > 1e-2


@pytest.mark.parametrize("seed", range(20))
def test_two_gradients_have_a_closed_form(seed: int) -> None:
    first, second = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * torch.tensor([[1.0], [3.0]])
    expected = ((second @ second - first @ second) / (first - second).square().sum()).clamp(0, 1)
    rows = torch.stack([first, second])
    torch.testing.assert_close(min_norm_weights(rows @ rows.T)[0], expected, atol=1e-9, rtol=0)


def test_orthogonal_gradients_are_weighted_by_inverse_squared_length() -> None:
    weights = min_norm_weights(torch.diag(torch.tensor([1.0, 4.0, 16.0])))
    torch.testing.assert_close(weights, torch.tensor([16, 4, 1], dtype=torch.float64) / 21, atol=1e-9, rtol=0)


def test_equal_gradients_share_equally() -> None:
    torch.testing.assert_close(min_norm_weights(torch.full((4, 4), 3.0)), torch.full((4,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("case", ["random", "duplicates", "low rank", "one zero"])
def test_order_and_scale_do_not_matter(case: str) -> None:
    for seed in range(10):
        rows = gradients(case, seed)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        weights = min_norm_weights(rows @ rows.T)
        torch.testing.assert_close(min_norm_weights(rows[order] @ rows[order].T), weights[order], atol=1e-5, rtol=0)
        torch.testing.assert_close(min_norm_weights(1e-9 * rows @ rows.T), weights, atol=1e-5, rtol=0)
        torch.testing.assert_close(min_norm_weights(rows[order] @ rows[order].T) @ rows[order], weights @ rows, atol=1e-6, rtol=0)
