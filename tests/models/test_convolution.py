"""The depthwise convolution against torch's Conv1d."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from m2asr.models.convolution import ConvolutionModule, _Depthwise


@pytest.mark.parametrize("frames", [7, 3, 1])
def test_depthwise_passes_gradcheck(frames: int) -> None:
    x = torch.randn(2, frames, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_Depthwise.apply, (x, weight, bias))


@pytest.mark.parametrize("frames", [40, 15, 14, 5])
def test_depthwise_equals_conv1d(frames: int) -> None:
    """Also where the kernel is longer than the data."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(3, frames, 16), torch.randn(16, 1, 15), torch.randn(16)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    ours = _Depthwise.apply(*leaves)
    theirs = F.conv1d(x.transpose(1, 2), weight, bias, padding=7, groups=16).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    grad = torch.randn_like(ours)
    for actual, expected in zip(torch.autograd.grad(ours, leaves, grad), torch.autograd.grad(theirs, leaves, grad), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-3)


def test_positions_outside_the_utterance_are_zero_to_it() -> None:
    module = ConvolutionModule(8, 5).double()
    x = torch.randn(1, 10, 8, dtype=torch.float64)
    valid = (torch.arange(10) < 6).view(1, 10, 1)
    torch.testing.assert_close(module(x, valid)[:, :6], module(x[:, :6], None))
