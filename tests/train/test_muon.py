"""Muon: equal to torch's, orthogonal updates of one length, whatever the gradient's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.train.muon import Muon, orthogonalize

SHAPES = [(8, 16), (16, 8), (24, 8), (8, 8), (8, 16), (5, 3)]


def matrices(seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def gradients(step: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [param.detach() for param in matrices(100 + step, dtype)]


def train(params: list[Parameter], optimizer: torch.optim.Optimizer, steps: int = 4, factor: float = 1.0) -> list[Parameter]:
    for step in range(steps):
        for param, gradient in zip(params, gradients(step, params[0].dtype), strict=True):
            param.grad = factor * gradient
        optimizer.step()
    return params


@pytest.mark.parametrize("steps", [3, 5])
def test_updates_are_torchs(steps):
    ours, theirs = matrices(), matrices()
    train(ours, Muon(ours, lr=0.1, weight_decay=0.1, steps=steps))
    options = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.95, "ns_steps": steps, "adjust_lr_fn": "match_rms_adamw"}
    train(theirs, torch.optim.Muon(theirs, **options))
    for start, mine, reference in zip(matrices(), ours, theirs, strict=True):
        assert torch.allclose(mine, reference, atol=2e-3), "bfloat16 products, summed in another order"
        assert not torch.allclose(mine, start, atol=2e-3)


def test_one_matrix_moves_alike_alone_and_among_others():
    together, alone = matrices(dtype=torch.float64), matrices(dtype=torch.float64)
    train(together, Muon(together, lr=0.1, weight_decay=0.01))
    optimizers = [Muon([param], lr=0.1, weight_decay=0.01) for param in alone]
    for step in range(4):
        for param, gradient, optimizer in zip(alone, gradients(step, torch.float64), optimizers, strict=True):
            param.grad = gradient
            optimizer.step()
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(together, alone, strict=True))


def test_a_matrix_becomes_orthogonal_and_keeps_its_singular_vectors():
    matrix = matrices(dtype=torch.float64)[0].detach()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonalize(matrix[None], 5)[0] @ right.T
    assert torch.allclose(found, torch.diag(found.diagonal()), atol=1e-10)
    assert 0.6 < found.diagonal().min() < found.diagonal().max() < 1.3
    assert values.max() / values.min() > 2, "which it was not before"


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_length_of_the_gradient_does_not_matter(factor):
    one, other = matrices(dtype=torch.float64), matrices(dtype=torch.float64)
    train(one, Muon(one, lr=0.1, weight_decay=0.0))
    train(other, Muon(other, lr=0.1, weight_decay=0.0), factor=factor)
    assert all(torch.allclose(mine, scaled, atol=1e-6) for mine, scaled in zip(one, other, strict=True))


def test_an_update_is_as_long_as_adamws():
    """A root mean square of about .2 times the rate, for every shape."""
    params = matrices()
    before = copy.deepcopy(params)
    train(params, Muon(params, lr=0.1, weight_decay=0.0, steps=5), steps=1)
    for old, new in zip(before, params, strict=True):
        assert 0.7 * 0.02 < float((new - old).detach().square().mean().sqrt()) < 1.3 * 0.02


def test_what_has_no_gradient_stays_as_it_is():
    params = matrices()
    optimizer = Muon(params, lr=0.1, weight_decay=0.1)
    before = params[1].detach().clone()
    for index, param in enumerate(params):
        param.grad = None if index == 1 else torch.ones_like(param)
    optimizer.step()
    assert torch.equal(params[1], before) and params[1] not in optimizer.state
    assert not torch.equal(params[0], matrices()[0])


def test_the_matrices_of_experts_move_as_if_they_were_apart():
    apart = [Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(number), dtype=torch.float64)) for number in range(3)]
    stack = Parameter(torch.stack([param.detach() for param in apart]))
    optimizers = [Muon([stack], lr=0.1, weight_decay=0.01), Muon(apart, lr=0.1, weight_decay=0.01)]
    for step in range(3):
        generator = torch.Generator().manual_seed(100 + step)
        stack.grad = torch.randn(stack.shape, generator=generator, dtype=torch.float64)
        for number, param in enumerate(apart):
            param.grad = stack.grad[number].clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(stack, torch.stack(list(apart)), rtol=0, atol=1e-12)
