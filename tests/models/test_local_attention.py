"""Attention within a window against attention to all states with a mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from m2asr.errors import UserError
from m2asr.models.attention import SelfAttention, attend
from m2asr.models.local_attention import BlockBias, Window, attend_in_blocks, fused_blocks, window_bias
from m2asr.models.rotary import rotary_heads

CPU = torch.device("cpu")
WINDOWS = [Window(3, 2), Window(0, 0), Window(0, 4), Window(5, 0), Window(32, 32), Window(70, 10)]
FRAMES = [1, 2, 31, 33, 75, 200, 391]


def mask(window: Window, lengths: Tensor, frames: int) -> Tensor:
    """The bias (B, 1, T, T) of the window, entry by entry; a state sees itself in the padding too."""
    bias = torch.full((len(lengths), 1, frames, frames), float("-inf"), dtype=torch.float64)
    for row, length in enumerate(lengths.tolist()):
        for state in range(frames):
            bias[row, 0, state, max(0, state - window.left) : min(state + window.right + 1, length)] = 0
            bias[row, 0, state, state] = 0
    return bias


def projections(batch: int, frames: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(batch, frames, 3, 2, 6, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def masked(qkv: Tensor, bias: Tensor) -> Tensor:
    """Self-attention over all scores."""
    return attend(*rotary_heads(qkv), bias.to(qkv.dtype)).transpose(1, 2).flatten(2)


def blocks_of(window: Window, frames: int, lengths: Tensor | None) -> Tensor | BlockBias:
    return window_bias(window, frames, None if lengths is None else torch.arange(frames) < lengths[:, None], CPU)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("padding", [False, True])
def test_values_and_gradients_equal_those_with_a_mask(window: Window, frames: int, padding: bool) -> None:
    """With padding, one utterance of three is shorter than a block, and one is empty."""
    qkv, lengths = projections(3, frames), torch.tensor([frames, min(frames, 9), 0]) if padding else torch.full((3,), frames)
    expected = masked(qkv, mask(window, lengths, frames))
    grad = torch.randn_like(expected)
    expected_grad = torch.autograd.grad(expected, qkv, grad)[0]
    bias = blocks_of(window, frames, lengths if padding else None)
    for attention in [attend_in_blocks, fused_blocks] if isinstance(bias, BlockBias) else [masked]:
        actual = attention(qkv, bias)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(torch.autograd.grad(actual, qkv, grad)[0], expected_grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
def test_long_inputs_go_in_blocks_and_short_ones_in_one(window: Window) -> None:
    assert isinstance(blocks_of(window, 1000, None), BlockBias)
    assert isinstance(blocks_of(window, 30, None), Tensor)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("frames", [75, 200, 391, 1000, 1008])
def test_few_queries_of_the_last_block_are_empty(window: Window, frames: int) -> None:
    bias = blocks_of(window, frames, None)
    if isinstance(bias, BlockBias):
        count, size, keys = bias.shape
        assert frames <= count * size < frames + 8 * count and keys == window.left + size + window.right


def test_passes_gradcheck() -> None:
    qkv, lengths = projections(1, 75), torch.tensor([70])
    bias = blocks_of(Window(2, 1), 75, lengths)
    assert torch.autograd.gradcheck(lambda x: attend_in_blocks(x, bias), (qkv,), fast_mode=True)


def test_goes_backward_twice_through_one_graph_and_changes_no_input() -> None:
    qkv = projections(1, 100)
    before, bias = qkv.detach().clone(), blocks_of(Window(3, 3), 100, None)
    loss = attend_in_blocks(qkv, bias).square().sum()
    first = torch.autograd.grad(loss, qkv, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, qkv)[0]) and first.abs().sum() > 0
    assert torch.equal(qkv, before)


@pytest.mark.parametrize("frames", [20, 200])
def test_bfloat16_is_near_float32(frames: int) -> None:
    torch.manual_seed(0)
    attention, x, bias = SelfAttention(16, 2), torch.randn(2, frames, 16), blocks_of(Window(8, 4), frames, torch.tensor([frames, 11]))
    exact = attention(x, bias)
    with torch.autocast("cpu", torch.bfloat16):
        short = attention(x.bfloat16(), bias)
    assert short.dtype == torch.bfloat16
    torch.testing.assert_close(short.float(), exact, rtol=0.05, atol=0.02)
    exact_grad = torch.autograd.grad(exact.square().sum(), attention.qkv.weight)[0]
    grad = torch.autograd.grad(short.float().square().sum(), attention.qkv.weight)[0]
    assert (grad - exact_grad).norm() < 0.02 * exact_grad.norm()


class Largest(TorchDispatchMode):
    """Remembers the number of entries of the largest tensor that an operation returns."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.entries = max(self.entries, tensor.numel())
        return result


def largest(frames: int, dtype: torch.dtype) -> int:
    """Entries of the largest tensor, forward and backward; 2 heads of 6 entries, a window of 17 states."""
    qkv = projections(1, frames, dtype)
    with Largest() as mode:
        bias = blocks_of(Window(8, 8), frames, torch.tensor([frames - 5]))
        attend_in_blocks(qkv, bias).sum().backward()
    return mode.entries


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_grows_with_the_length_and_the_window(dtype: torch.dtype) -> None:
    """The largest tensor has the scores of blocks of 32 queries."""
    assert [largest(frames, dtype) for frames in (4000, 8000)] == [4000 * 2 * (8 + 32 + 8), 8000 * 2 * (8 + 32 + 8)]


@pytest.mark.parametrize("window", [[-1, 3], [3, -1], [3], [1, 2, 3], []])
def test_other_windows_than_two_numbers_from_0_are_one_clear_line(window: list[int]) -> None:
    with pytest.raises(UserError, match=r"model.encoder.window: \[.*\]: give two whole numbers from 0"):
        Window.read(window)


def test_a_window_may_be_a_state_alone_or_nothing() -> None:
    assert Window.read([0, 0]) == Window(0, 0) and Window.read(None) is None
