"""Convolution front ends: 10 ms frames to 40 ms states."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Subsampling(nn.Module):
    """Two 3x3 convolutions of stride 2 and a linear layer (M2ASR, Saif et al. 2024): (B, T, F) -> (B, T', D).

    With `separable` there are at most 64 channels and the second convolution is depthwise, then pointwise: for cheap runs. No
    frame is added at the edges, so a valid state sees valid frames only.
    """

    factor = 4  # frames from one state to the next
    span = 7  # frames that a state sees

    def __init__(self, feat_dim: int, dim: int, separable: bool) -> None:
        super().__init__()
        channels = min(dim, 64) if separable else dim
        self.first = nn.Conv2d(1, channels, 3, stride=2)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, groups=channels if separable else 1)
        self.pointwise = nn.Conv2d(channels, channels, 1) if separable else None
        self.to(memory_format=torch.channels_last)  # oneDNN's faster layout for depthwise convolutions, and for all in bfloat16
        self.output = nn.Linear(channels * (((feat_dim - 1) // 2 - 1) // 2), dim)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Valid states per utterance (B,) from valid frames (B,): 0 for fewer than 7."""
        return (((lengths - 1) // 2 - 1) // 2).clamp(min=0)

    def forward(self, feats: Tensor) -> Tensor:
        feats = F.pad(feats, (0, 0, 0, max(0, 7 - feats.shape[1])))  # too short for a state: give one, of length 0
        x = F.relu_(self.first(feats.unsqueeze(1)))  # (B, C, T/2, F/2)
        if self.pointwise is None:
            x = self.second(x)
        else:
            # in the weight's type: in bfloat16 the gradient of a strided depthwise convolution takes ten times longer on a CPU
            with torch.autocast(x.device.type, enabled=False):
                x = self.second(x.to(self.second.weight.dtype))
            x = self.pointwise(F.relu_(x))
        x = x.transpose(1, 2).flatten(2)  # (B, T', C * F')
        return self.output(F.relu_(x))  # (B, T', D)
