"""Gradients on their way into theta: weighted where they enter it, plain everywhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from m2asr.models.encoded import Encoded
from m2asr.objectives.view import View
from m2asr.train.gate import crossing, gate, gradients_at, scale_gradient


@pytest.mark.parametrize("factor", [1.0, 0.3, 0.0])
def test_scale_gradient_is_the_identity_going_forward(factor: float) -> None:
    x = torch.randn(4, 5, requires_grad=True)
    y = scale_gradient(x, factor)
    assert torch.equal(y, x)
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), x)[0], factor * 2 * x.detach())


def test_scale_gradient_by_zero_stops_what_is_not_finite() -> None:
    x = torch.zeros(2, requires_grad=True)
    (scale_gradient(x, 0.0).sqrt().sum() + x.sum()).backward()  # d sqrt / dx at 0 is infinite
    assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize("cut", [False, True])
def test_every_tap_passes_the_gate(cut: bool) -> None:
    """Also one that is no encoder state proper; states without a gradient stay as they are."""
    x, fixed = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3)
    encoded = {View(): Encoded({"output": 2 * x, "router": 3 * x, "codes": fixed}, torch.tensor([3, 3]))}
    kept = gate(encoded, cut=cut)
    read = gate(kept, 0.25)[View()].states
    assert read["codes"] is fixed
    (read["output"].sum() + read["router"].sum()).backward()
    if cut:
        gradients = gradients_at(kept)
        assert x.grad is None and {tap for _, tap in gradients} == {"output", "router"}
        torch.autograd.backward([encoded[view].states[tap] for view, tap in gradients], list(gradients.values()))
    torch.testing.assert_close(x.grad, torch.full((2, 3), 0.25 * (2 + 3)))


class Writer(nn.Module):
    """A module of theta that a head calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return torch.tanh(self.inner(memory)) * tokens


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.3, 4.0, 0.0])
def test_a_head_on_either_side_of_a_module_of_theta_keeps_its_plain_gradient(factor: float, by_name: bool) -> None:
    """encoder (theta), head, writer (theta), head: theta gets the factor once, heads do not, whichever way the writer is called."""
    torch.manual_seed(0)
    encoder, before, writer, after = nn.Linear(3, 3), nn.Linear(3, 3), Writer(), nn.Linear(3, 2)
    modules, x, tokens = (encoder, before, writer, after), torch.randn(4, 3), torch.ones(4, 3)

    def gradients(weigh: bool) -> list[Tensor | None]:
        states = {View(): Encoded({"output": encoder(x)}, torch.tensor([4]))}
        read = gate(states, factor if weigh else 1.0)[View()].states["output"]
        with crossing([writer], factor if weigh else 1.0):
            memory = before(read)
            written = writer(tokens, memory=memory) if by_name else writer(tokens, memory)
        params = [module.inner.weight if module is writer else module.weight for module in modules]
        return torch.autograd.grad(after(written).square().sum(), params)

    plain, weighed = gradients(False), gradients(True)
    scales = [factor, 1.0 if factor else 0.0, factor, 1.0]  # a factor of 0 leaves nothing to divide for the head before the writer
    for gradient, expected, scale in zip(weighed, plain, scales, strict=True):
        torch.testing.assert_close(gradient, scale * expected)
