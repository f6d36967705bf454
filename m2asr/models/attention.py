"""Multi-head self-attention with rotary positions on torch's fused kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.models.layers import Dropout


class RotaryPositions(nn.Module):
    """Rotates pairs of query and key entries by angles that grow with the position (Su et al. 2021, RoFormer, equation 34).

    Scores then depend on the distance of two positions alone.
    """

    def __init__(self, head_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        self.rates = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)  # (D/2,)
        self._tables: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, ..., D) -> (B, T, ..., D), rotated by the position in dimension 1."""
        cos, sin = self.tables(x)
        shape = (1, x.shape[1], *[1] * (x.dim() - 3), cos.shape[-1])
        cos, sin = cos.view(shape), sin.view(shape)
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def tables(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (T, D/2) in the type and on the device of x."""
        tables = self._tables
        if tables is None or len(tables[0]) < x.shape[1] or tables[0].dtype != x.dtype or tables[0].device != x.device:
            angles = torch.outer(torch.arange(max(512, x.shape[1]), dtype=torch.float64), self.rates)
            tables = self._tables = (angles.cos().to(x), angles.sin().to(x))
        return tables[0][: x.shape[1]], tables[1][: x.shape[1]]


class SelfAttention(nn.Module):
    """LayerNorm and multi-head self-attention: (B, T, D) -> (B, T, D); `mask` (B, T) is True at valid positions."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.positions = RotaryPositions(dim // heads)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, frames, dim = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, dim // self.heads)
        query_key = self.positions(qkv[:, :, :2])  # (B, T, 2, H, D/H)
        query, key = query_key.transpose(1, 3).unbind(2)  # (B, H, T, D/H)
        value = qkv[:, :, 2].transpose(1, 2)
        keys = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keys)
        return self.dropout(self.output(mixed.transpose(1, 2).reshape(batch, frames, dim)))
