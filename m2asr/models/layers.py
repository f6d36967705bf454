"""Layers and functions that every block uses: padding masks, dropout, the feed-forward module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def valid_positions(lengths: Tensor, size: int) -> Tensor:
    """A mask (B, T) that is True at the first `lengths` (B,) of `size` positions."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def full_precision(x: Tensor) -> Tensor:
    """Tensors of half precision as float32, wider ones as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def round_length(size: int) -> int:
    """The next length of a coarse grid: multiples of 4 up to 128, then 16 steps for every doubling; at most a sixteenth above `size`.

    A library that prepares a kernel for every new shape, as oneDNN does, then seldom meets a new one.
    """
    step = max(4, 1 << max(0, (size - 1).bit_length() - 5))
    return -(-size // step) * step


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) with one random byte per entry: on a CPU many times cheaper than torch's own.

    On a CPU the rate is rounded to a multiple of 1 / 256, and the scale is that of the rounded rate, so the expectation stays x. The
    bytes come from torch's global generator. On other devices torch's dropout is used.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.dropped = min(255, round(rate * 256))  # an entry of 256 stays at any rate below 1
        self.scale = 256 / (256 - self.dropped)

    @property
    def active(self) -> bool:
        """Whether anything is dropped."""
        return self.training and self.dropped > 0

    def forward(self, x: Tensor) -> Tensor:
        """Set random entries to zero and scale the remaining ones up."""
        if not self.active:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        return x * self.keep(x).to(x.dtype).mul_(self.scale)

    def add(self, x: Tensor, y: Tensor, factor: float = 1.0) -> Tensor:
        """x + factor * dropout(y), the end of a residual branch, in one pass."""
        if not self.active:
            return torch.add(x, y, alpha=factor)
        if x.device.type != "cpu":
            return torch.add(x, F.dropout(y, self.rate), alpha=factor)
        return torch.addcmul(x, y, self.keep(y).to(y.dtype), value=factor * self.scale)

    def keep(self, x: Tensor) -> Tensor:
        """Random ones (keep the entry) and zeros (drop it) in the shape of x, as bytes."""
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)  # 8 random bytes each
        # compared in place: a comparison that changes the type is not vectorized
        return words.view(torch.uint8)[: x.numel()].ge_(self.dropped).view(x.shape)


class FeedForward(nn.Module):
    """LayerNorm, a linear layer to `hidden` channels, SiLU and a linear layer back: (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.wide = nn.Linear(dim, hidden)
        self.narrow = nn.Linear(hidden, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(self.dropout(F.silu(self.wide(self.norm(x)))))
