"""Multi-head self-attention with rotary positions."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from m2asr.errors import UserError


class SelfAttention(nn.Module):
    """LayerNorm and multi-head self-attention: (B, T, D) -> (B, T, D).

    `bias`, broadcast to (B, H, T, T), is added to the scores: -inf where a position must not look. Raises UserError where `dim`
    is no even multiple of `heads`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % (2 * heads) != 0:
            raise UserError(f"dim {dim} and heads {heads}: rotary positions need dim / heads to be an even number")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        batch, frames, dim = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, dim // self.heads)
        query, key, value = rotary_heads(qkv)  # (B, H, T, D/H)
        mixed = attend(query, key, value, None if bias is None else bias.to(query.dtype))
        return self.output(mixed.transpose(1, 2).reshape(batch, frames, dim))


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention (B, H, T, D) on torch's fused kernel.

    In bfloat16 on a CPU three plain steps take a third of the fused kernel's time, forward and backward.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # (B, H, T, T)
    if bias is not None:
        scores += bias
    return scores.softmax(dim=-1) @ value


def rotary_heads(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split (B, T, 3, H, D) into query, key and value (B, H, T, D), with rotary positions in query and key.

    Pairs of entries turn by angles that grow with the position, so that scores depend on the distance of two positions
    alone (Su et al. 2021, RoFormer, equation 34).
    """
    cos, sin = _tables(max(512, 1 << (qkv.shape[1] - 1).bit_length()), qkv.shape[-1], qkv.dtype, qkv.device)
    return _RotaryHeads.apply(qkv, cos[: qkv.shape[1]], sin[: qkv.shape[1]])


class _RotaryHeads(torch.autograd.Function):
    """The split and the rotation in one write; its backward is the rotation back, into one gradient, and stores nothing."""

    @staticmethod
    def forward(ctx, qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.tables = cos, sin
        batch, frames, _, heads, dim = qkv.shape
        split = qkv.new_empty(3, batch, heads, frames, dim)
        parts = qkv.permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        _rotate(parts[:2], cos, sin, split[:2])
        split[2].copy_(parts[2])
        return split[0], split[1], split[2]

    @staticmethod
    @once_differentiable
    def backward(ctx, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.tables
        batch, heads, frames, dim = query.shape
        grad = query.new_empty(batch, frames, 3, heads, dim)
        parts = grad.permute(2, 0, 3, 1, 4)
        _rotate(query, cos, -sin, parts[0])
        _rotate(key, cos, -sin, parts[1])
        parts[2].copy_(value)
        return grad, None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    first, second = x.chunk(2, dim=-1)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)


@functools.lru_cache(maxsize=8)
def _tables(frames: int, dim: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, D/2) of position times rate."""
    with torch.inference_mode(False):  # tables first asked for while decoding must also serve training
        rates = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angles = torch.outer(torch.arange(frames, dtype=torch.float64), rates)
        return angles.cos().to(device, dtype), angles.sin().to(device, dtype)
