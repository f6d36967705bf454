"""A weighting that averages the gradients that agree most with the others."""

from __future__ import annotations

from types import ModuleType

import torch

from m2asr.errors import UserError
from m2asr.limits import Count, Natural
from m2asr.moo.borrowed import Borrowed


class Krum(Borrowed):
    """The mean of the `selected` gradients that lie nearest to their M - byzantine - 2 nearest neighbours; the others get weight 0.

    Blanchard et al. 2017, "Machine learning with adversaries: Byzantine tolerant gradient descent", or its Multi-Krum where `selected`
    is above 1; with distances in place of squared ones, as in torchjd. The method protects against gradients that cannot be trusted:
    an objective unlike the others may never be trained. A step with fewer active objectives than it needs has no solution.

    Args:
        objectives: names of the objectives, at least byzantine + 3.
        byzantine: how many gradients may be wrong.
        selected: how many are averaged.
    """

    def __init__(self, objectives: list[str], byzantine: Natural = 0, selected: Count = 1) -> None:
        if byzantine < 0:
            raise UserError(f"weighting.byzantine: {byzantine} is not possible; give a number from 0 up")
        if not 1 <= selected <= len(objectives):
            raise UserError(f"weighting.selected: {selected} is not possible; give a number from 1 to {len(objectives)}")
        if len(objectives) < byzantine + 3:
            raise UserError(
                f"weighting.byzantine: {byzantine} needs a level of at least {byzantine + 3} objectives, this one has {len(objectives)}; "
                + ("give fewer, or choose another type" if byzantine else "choose another type")
            )
        self.byzantine, self.selected = byzantine, selected
        super().__init__(objectives)

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.KrumWeighting(n_byzantine=self.byzantine, n_selected=self.selected)
