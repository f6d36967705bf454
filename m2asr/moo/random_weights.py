"""Weights that are drawn at random."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from m2asr.moo.borrowed import Borrowed


class RandomWeights(Borrowed):
    """Softmax of independent normal numbers, drawn anew in every step: the baseline that other weightings have to beat.

    Lin et al. 2022, "Reasonable effectiveness of random weighting: a litmus test for multi-task learning", Algorithm 2. The
    weights look at no gradient, so one backward pass serves all objectives.
    """

    dynamic = False
    random = True

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.RandomWeighting()

    def solve(self, active: Tensor, gramian: Tensor | None, squared_norms: Tensor | None) -> Tensor:
        identity = torch.eye(len(active), dtype=torch.float64)  # torchjd reads its size alone
        return super().solve(active, identity, identity.diagonal())
