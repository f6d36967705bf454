"""Weightings under which every objective contributes the same to the update."""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from m2asr.limits import Factor
from m2asr.moo.borrowed import Borrowed
from m2asr.moo.weighting import from_zero


class IMTLG(Borrowed):
    """The update with the same projection onto every gradient's direction; weights may be negative, and sum to 1.

    No descent is promised for any objective: where gradients conflict strongly the update may lead uphill.
    Liu et al. 2021, "Towards impartial multi-task learning", equation 6, in torchjd's form for dependent gradients.
    """

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.IMTLGWeighting()


class AlignedMTL(Borrowed):
    """The mean of the gradients after they were made orthogonal and of one length, where they are not already.

    Senushkin et al. 2023, "Independent component alignment for multi-task learning", Algorithm 1.

    Args:
        objectives: names of the objectives.
        length: the common length, from the singular values of the gradients: `min` as in the paper, `median` or `rmse`.
    """

    def __init__(self, objectives: list[str], length: Literal["min", "median", "rmse"] = "min") -> None:
        self.length = length
        super().__init__(objectives)

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.AlignedMTLWeighting(scale_mode=self.length)


class FairGrad(Borrowed):
    """The alpha-fair division of progress: G w = w^(-1 / alpha). Its weights are divided by their sum.

    Ban and Ji 2024, "Fair resource allocation in multi-task learning", equation 4; alpha 1 is proportional fairness.

    Args:
        objectives: names of the objectives.
        alpha: 0 is the mean gradient, large values look at the slowest objective.
    """

    def __init__(self, objectives: list[str], alpha: Factor = 2.0) -> None:
        from_zero(alpha=alpha)
        self.alpha = alpha
        super().__init__(objectives)

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.FairGradWeighting(alpha=self.alpha)

    def ask(self, gramian: Tensor, active: Tensor) -> Tensor:
        weights = super().ask(gramian, active)
        return weights / weights.sum()


class NashMTL(FairGrad):
    """The Nash bargaining solution: w > 0 with G w = 1 / w. Its weights are divided by their sum.

    Navon et al. 2022, "Multi-task learning as a bargaining game", Theorem 3.2. This is proportional fairness, FairGrad's equation with
    alpha 1, and solved as such: torchjd's NashMTL follows the paper's sequence of convex programs, which depends on the steps
    before and stays at equal weights where a gradient conflicts with the mean at the start.
    """

    def __init__(self, objectives: list[str]) -> None:
        super().__init__(objectives, alpha=1.0)
