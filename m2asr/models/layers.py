"""Small pieces that every block uses: padding masks, dropout, the feed-forward module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def padding_mask(lengths: Tensor, size: int) -> Tensor | None:
    """True at valid positions (B, T), or None where nothing is padded."""
    if bool((lengths >= size).all()):
        return None
    return torch.arange(size, device=lengths.device) < lengths[:, None]


class Dropout(nn.Module):
    """Dropout whose masks come from random bytes: on a CPU several times cheaper than one random number per entry.

    The rate is rounded to a multiple of 1 / 256 and the scale follows the rounded rate, so the expectation is exact. On other
    devices it is torch's own dropout.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.dropped = round(rate * 256)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        count = x.numel()
        words = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)  # 8 bytes each
        keep = words.view(torch.uint8)[:count].view(x.shape) >= self.dropped
        return x * keep.to(x.dtype).mul_(256 / (256 - self.dropped))


class FeedForward(nn.Module):
    """LayerNorm, a wide layer with SiLU, and back: (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.wide = nn.Linear(dim, hidden)
        self.narrow = nn.Linear(hidden, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.dropout(F.silu(self.wide(self.norm(x))))))
