"""Front ends: 10 ms frames to 40 ms states."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.errors import UserError

Kind = Literal["conv2d", "dwconv", "windows"]
Lengths = TypeVar("Lengths", int, np.ndarray, Tensor)


class Subsampling(nn.Module):
    """The base of all front ends: a state sees 7 frames, and the next state starts 4 frames later.

    No frame is added at the edges, so a valid state sees valid frames only.
    """

    factor = 4  # frames from one state to the next
    span = 7  # frames that a state sees

    @classmethod
    def output_lengths(cls, lengths: Lengths) -> Lengths:
        """Numbers of valid states from numbers of valid frames, of one utterance or of many (B,); fewer than 7 frames give 0."""
        states = (lengths - (cls.span - cls.factor)) // cls.factor
        return max(states, 0) if isinstance(states, int) else states.clip(0)

    @classmethod
    def frames_for(cls, states: int) -> int:
        """The fewest frames that give `states` states."""
        return cls.factor * states + cls.span - cls.factor

    @classmethod
    def at_least_one_state(cls, feats: Tensor) -> Tensor:
        """Features (B, T, F), padded with zeros up to the frames of one state; an utterance that is too short still has 0 valid states."""
        return F.pad(feats, (0, 0, 0, max(0, cls.span - feats.shape[1])))


class Convolutions(Subsampling):
    """Two 3x3 convolutions of stride 2 and a linear layer (M2ASR, Saif et al. 2024): (B, T, F) -> (B, T', D).

    With `separable`, for cheap runs, there are at most 64 channels, and the second convolution is a depthwise and a pointwise one.
    Raises UserError for features that are narrower than the 7 bins that the convolutions see.
    """

    def __init__(self, feat_dim: int, dim: int, separable: bool) -> None:
        super().__init__()
        if feat_dim < self.span:
            raise UserError(
                f"model.encoder.subsampling: convolutions need {self.span} features per frame or more, these have {feat_dim}; "
                "set `subsampling: windows`, or compute more in stage fbank (num_mel_bins)"
            )
        channels = min(dim, 64) if separable else dim
        self.first = nn.Conv2d(1, channels, 3, stride=2)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, groups=channels if separable else 1)
        self.pointwise = nn.Conv2d(channels, channels, 1) if separable else None
        self.to(memory_format=torch.channels_last)  # oneDNN's faster layout for depthwise convolutions, and for all in bfloat16
        self.output = nn.Linear(channels * (((feat_dim - 1) // 2 - 1) // 2), dim)

    def forward(self, feats: Tensor) -> Tensor:
        feats = self.at_least_one_state(feats)
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


class Windows(Subsampling):
    """A linear layer on windows of 5 frames, one every second frame, and one on pairs of windows: (B, T, F) -> (B, T', D).

    A state sees the same 7 frames as with the convolutions, but all channels of a window at once. This is the cheapest front end, matrix
    multiplications alone, and on small corpora the one that learns fastest.
    """

    def __init__(self, feat_dim: int, dim: int) -> None:
        super().__init__()
        self.window = nn.Linear(5 * feat_dim, dim)
        self.pair = nn.Linear(2 * dim, dim)

    def forward(self, feats: Tensor) -> Tensor:
        feats = self.at_least_one_state(feats)
        windows = feats.unfold(1, 5, 2).transpose(2, 3).flatten(2)  # (B, T/2, 5 F), a view: consecutive frames are neighbours in memory
        x = F.relu(self.window(windows))  # (B, T/2, D)
        x = x[:, : x.shape[1] // 2 * 2].unflatten(1, (-1, 2)).flatten(2)  # (B, T', 2 D)
        return self.pair(x)  # (B, T', D)


def front_end(kind: Kind, feat_dim: int, dim: int) -> Subsampling:
    """The front end that a config names."""
    return Windows(feat_dim, dim) if kind == "windows" else Convolutions(feat_dim, dim, separable=kind == "dwconv")
