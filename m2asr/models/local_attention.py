"""Self-attention within a window: the states near each other in time, in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from m2asr.errors import UserError
from m2asr.models.rotary import rotary_heads, row_tables, turn

SMALLEST = 32  # states of a block; the matrices of smaller blocks are too small to be multiplied at full speed


class Window(NamedTuple):
    """A state sees at most `left` states before it, itself, and at most `right` states after it."""

    left: int
    right: int

    @classmethod
    def read(cls, numbers: Sequence[int] | None) -> Window | None:
        """The window of the option `window`; None where it is null. Raises UserError unless it is two whole numbers from 0."""
        if numbers is None:
            return None
        if len(numbers) != 2 or min(numbers) < 0:
            meaning = "how many states before and after itself a state sees"
            raise UserError(f"model.encoder.window: {list(numbers)}: give two whole numbers from 0, {meaning}, or null")
        return cls(*numbers)


@dataclass(frozen=True)
class BlockBias:
    """The bias of attention in blocks. Block n has the queries n C to n C + C - 1 and reads K = left + C + right keys from n C - left on.

    bias: (B, N, C, K), or (1, N, C, K) for all utterances; 0 where a query sees a key, and -inf elsewhere.
    """

    window: Window
    bias: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Blocks N, queries C of a block, and keys K of a block."""
        return self.bias.shape[1], self.bias.shape[2], self.bias.shape[3]


def window_bias(window: Window, frames: int, valid: Tensor | None, device: torch.device) -> Tensor | BlockBias:
    """The bias that hides from each of `frames` states those outside its window and those that are not `valid` (B, T).

    Every state sees itself, also in the padding, as a softmax over -inf alone would be NaN. Costs in blocks grow with T K. With K keys near
    T, the plain way over T^2 scores is faster, as it neither copies keys nor computes scores twice: its bias is (B or 1, 1, T, T). On a CPU
    the times in float32 crossed where T was 1.3 to 1.9 times K, for windows of 8, 32 and 128 states on either side.
    """
    count, size = _cut(frames, window)
    keys = window.left + size + window.right
    if valid is None:
        valid = torch.ones(1, frames, dtype=torch.bool, device=device)
    if 2 * frames <= 3 * keys:
        position = torch.arange(frames, device=device)
        return _bias(window, position - position[:, None], valid[:, None])[:, None]
    valid = F.pad(valid, (window.left, window.right + count * size - frames)).unfold(1, keys, size)  # (B, N, K)
    distance = torch.arange(keys, device=device) - window.left - torch.arange(size, device=device)[:, None]  # (C, K), of key from query
    return BlockBias(window, _bias(window, distance, valid[:, :, None]))


def attend_in_blocks(qkv: Tensor, blocks: BlockBias) -> Tensor:
    """Self-attention with rotary positions from (B, T, 3, H, D) to (B, T, H * D), where each state sees its window.

    It equals attention to all states with the window as a mask. Time and memory grow with T K, not T^2. On a CPU it is a function of
    plain steps, faster there on small blocks than torch's fused kernel, which other devices use.
    """
    if qkv.device.type == "cpu":
        tables = row_tables(qkv.shape[1], qkv.shape[-1], qkv.dtype)
        return _AttendInBlocks.apply(qkv, blocks.bias.to(qkv.dtype), *tables, blocks.window)
    return fused_blocks(qkv, blocks)


def fused_blocks(qkv: Tensor, blocks: BlockBias) -> Tensor:
    """`attend_in_blocks` by torch's fused kernel, with the blocks of all utterances as one batch."""
    batch, frames, _, heads, dim = qkv.shape
    count, size, keys = blocks.shape
    query, key, value = (row.transpose(1, 2) for row in rotary_heads(qkv))  # (B, T, H, D)
    rest = count * size - frames
    query = F.pad(query, (0, 0, 0, 0, 0, rest)).reshape(batch * count, size, heads, dim).transpose(1, 2)  # (B * N, H, C, D)
    around = (0, 0, 0, 0, blocks.window.left, rest + blocks.window.right)
    # (B, N, H, D, K) to (B * N, H, K, D); entries of a key must be neighbours in memory, or torch takes no fused kernel
    key, value = (F.pad(row, around).unfold(1, keys, size).transpose(3, 4).flatten(0, 1) for row in (key, value))
    bias = blocks.bias.expand(batch, -1, -1, -1).flatten(0, 1)[:, None].to(query.dtype)  # (B * N, 1, C, K)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)  # (B * N, H, C, D)
    return mixed.transpose(1, 2).reshape(batch, count * size, heads * dim)[:, :frames]


class _AttendInBlocks(torch.autograd.Function):
    """Attention of each block of queries to its keys in one batched product; saves the rows of query, key and value, and the attention."""

    @staticmethod
    def forward(ctx, qkv: Tensor, bias: Tensor, cos: Tensor, sin: Tensor, window: Window) -> Tensor:
        batch, frames, _, heads, dim = qkv.shape
        _, count, size, keys = bias.shape
        split = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * heads, frames, dim)  # query, key, value
        rows = qkv.new_zeros(3, batch * heads, window.left + count * size + window.right, dim)
        inner = rows[:, :, window.left : window.left + frames]
        inner[:2], inner[2] = turn(split[:2], cos, sin), split[2]
        query, key, value = _blocks(rows, window, bias.shape)
        scores = query @ key.transpose(1, 2)  # (B * H * N, C, K)
        scores.view(batch, heads, count, size, keys).add_(bias[:, None])
        attention = scores.softmax(dim=-1)
        ctx.save_for_backward(rows, attention)
        ctx.tables, ctx.window, ctx.shapes = (cos, sin), window, (qkv.shape, bias.shape)
        mixed = (attention @ value).view(batch, heads, count * size, dim)[:, :, :frames]
        return mixed.transpose(1, 2).reshape(batch, frames, heads * dim)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, attention = ctx.saved_tensors
        (cos, sin), left = ctx.tables, ctx.window.left
        (batch, frames, _, heads, dim), shape = ctx.shapes
        count, size = shape[1:3]
        query, key, value = _blocks(rows, ctx.window, shape)
        grad = F.pad(grad.view(batch, frames, heads, dim).transpose(1, 2), (0, 0, 0, count * size - frames)).reshape(query.shape)
        scores = torch._softmax_backward_data(grad @ value.transpose(1, 2), attention, -1, attention.dtype)  # (B * H * N, C, K)
        grads = grad.new_empty(3, batch * heads, frames, dim)
        grads[0] = (scores @ key).view(batch * heads, count * size, dim)[:, :frames]
        grads[1] = _add_up(scores.transpose(1, 2) @ query, count, size)[:, left : left + frames]
        grads[2] = _add_up(attention.transpose(1, 2) @ grad, count, size)[:, left : left + frames]
        grads[:2] = turn(grads[:2], cos, -sin)
        return grads.view(3, batch, heads, frames, dim).permute(1, 3, 0, 2, 4).contiguous(), None, None, None, None


def _cut(frames: int, window: Window) -> tuple[int, int]:
    """Numbers of blocks, and of states in a block.

    Half of the window is near the best size of a block: in larger ones queries meet more keys outside their window, and of smaller ones
    more keys are copied. All blocks get about the same size, a multiple of 8, so that little of the last one is empty.
    """
    count = -(-frames // max(SMALLEST, (window.left + window.right) // 2))
    size = -(-frames // (8 * count)) * 8
    return -(-frames // size), size


def _bias(window: Window, distance: Tensor, valid: Tensor) -> Tensor:
    """0 for keys that are `valid` and at a `distance` within the window, and for distance 0; -inf for other keys."""
    visible = (distance >= -window.left) & (distance <= window.right) & valid | (distance == 0)
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, float("-inf"))


def _blocks(rows: Tensor, window: Window, shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (R * N, C, D), keys and values (R * N, K, D) of padded rows (3, R, left + N C + right, D)."""
    _, count, size, keys = shape
    query = rows[0, :, window.left : window.left + count * size].reshape(-1, size, rows.shape[-1])
    key, value = (row.unfold(1, keys, size).transpose(2, 3).reshape(-1, keys, row.shape[-1]) for row in rows[1:])
    return query, key, value


def _add_up(pieces: Tensor, count: int, size: int) -> Tensor:
    """Rows (R, at least left + N C + right, D) from overlapping pieces (R * N, K, D), one every `size` states, as sums."""
    pieces = pieces.view(-1, count, *pieces.shape[1:])  # (R, N, K, D)
    parts = pieces.split(size, dim=2)
    rows = pieces.new_zeros(len(pieces), count + len(parts) - 1, size, pieces.shape[-1])
    for number, part in enumerate(parts):
        rows[:, number : number + count, : part.shape[2]] += part
    return rows.flatten(1, 2)
