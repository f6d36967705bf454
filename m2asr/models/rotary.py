"""Rotary positions: pairs of entries turn by angles that grow with the position."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotary_heads(qkv: Tensor, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Split (B, T, 3, H, D) into query, key and value (B, H, T, D), with rotary positions from `start` on in query and key.

    Pairs of entries turn by angles that grow with the position. So a score depends only on the distance of two positions
    (Su et al. 2021, RoFormer, equation 34).
    """
    end = start + qkv.shape[1]
    cos, sin = _tables(_table_size(end), qkv.shape[-1], qkv.dtype, qkv.device)
    return _RotaryHeads.apply(qkv, cos[start:end], sin[start:end])


class _RotaryHeads(torch.autograd.Function):
    """Split and rotation in one write. Its backward pass rotates back into one gradient and needs no saved tensors."""

    @staticmethod
    def forward(ctx, qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.tables = cos, sin
        batch, frames, _, heads, dim = qkv.shape
        out = qkv.new_empty(3, batch, heads, frames, dim)
        split = qkv.permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        _rotate(split[:2], cos, sin, out[:2])
        out[2].copy_(split[2])
        return out[0], out[1], out[2]

    @staticmethod
    @once_differentiable
    def backward(ctx, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.tables
        batch, heads, frames, dim = query.shape
        grad = query.new_empty(batch, frames, 3, heads, dim)
        split = grad.permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        _rotate(query, cos, -sin, split[0])
        _rotate(key, cos, -sin, split[1])
        split[2].copy_(value)
        return grad, None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    first, second = x.chunk(2, dim=-1)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of entries, one in each half of a row (..., D), in passes over complete rows: half rows are too short to vectorize."""
    return x.roll(x.shape[-1] // 2, -1).mul_(sin).addcmul_(x, cos)


def row_tables(frames: int, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines (2, 1, T, D) for `turn`, of query and of key; those of the query are divided by sqrt(D)."""
    cos, sin = _row_tables(_table_size(frames), dim, dtype)
    return cos[:, :, :frames], sin[:, :, :frames]


def _table_size(frames: int) -> int:
    return max(512, 1 << (frames - 1).bit_length())


@functools.lru_cache(maxsize=8)
def _row_tables(frames: int, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of query and key (2, 1, T, D), those of the query divided by sqrt(D)."""
    with torch.inference_mode(False):
        cos, sin = _tables(frames, dim, torch.float64, torch.device("cpu"))
        scale = torch.tensor([dim**-0.5, 1.0], dtype=torch.float64)[:, None, None, None]
        return (scale * torch.cat([cos, cos], -1)).to(dtype), (scale * torch.cat([-sin, sin], -1)).to(dtype)


@functools.lru_cache(maxsize=8)
def _tables(frames: int, dim: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, D/2) of position times rate."""
    with torch.inference_mode(False):  # a table that decoding makes first is used in training too
        rates = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angles = torch.outer(torch.arange(frames, dtype=torch.float64), rates)
        return angles.cos().to(device, dtype), angles.sin().to(device, dtype)
