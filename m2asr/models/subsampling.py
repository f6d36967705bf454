"""Convolution front ends: 10 ms frames to 40 ms states."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv2dSubsampling(nn.Module):
    """Two 3x3 convolutions of stride 2 and a linear layer (M2ASR, Saif et al. 2024): (B, T, F) -> (B, T', D).

    With `separable`, the second convolution is depthwise and then pointwise, for cheap runs.
    """

    factor = 4

    def __init__(self, feat_dim: int, dim: int, separable: bool = False) -> None:
        super().__init__()
        channels = min(dim, 64) if separable else dim
        self.first = nn.Conv2d(1, channels, 3, stride=2)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, groups=channels if separable else 1)
        self.pointwise = nn.Conv2d(channels, channels, 1) if separable else None
        self.output = nn.Linear(channels * self._shrink(feat_dim), dim)

    @staticmethod
    def _shrink(size: int) -> int:
        return ((size - 1) // 2 - 1) // 2

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Valid states per utterance (B,), 0 for fewer than 7 frames."""
        return torch.div(torch.div(lengths - 1, 2, rounding_mode="floor") - 1, 2, rounding_mode="floor").clamp(min=0)

    def forward(self, feats: Tensor) -> Tensor:
        feats = F.pad(feats, (0, 0, 0, max(0, 7 - feats.shape[1])))  # too short for one state: give one, of length 0
        x = F.relu(self.first(feats.unsqueeze(1)))  # (B, C, T/2, F/2)
        x = self.second(x)
        if self.pointwise is not None:
            x = self.pointwise(F.relu(x))
        x = F.relu(x)  # (B, C, T', F')
        return self.output(x.permute(0, 2, 1, 3).flatten(2))  # (B, T', D)
