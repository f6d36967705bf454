"""Weightings that change gradients pair by pair until they agree."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from m2asr.limits import Share
from m2asr.moo.borrowed import Borrowed
from m2asr.moo.learned import same_objectives
from m2asr.moo.weighting import up_to_one


class PCGrad(Borrowed):
    """Each gradient loses its component against every other it conflicts with, in random order; then their mean.

    Yu et al. 2020, "Gradient surgery for multi-task learning", Algorithm 1. The paper sums over objectives; the weights here
    are divided by M. They sum to more than 1 where gradients conflict.
    """

    random = True

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.PCGradWeighting()

    def unit(self, size: int) -> float:
        return 1 / size


class GradVac(Borrowed):
    """Each gradient is turned towards every other one, in random order, until their cosine is at least its running mean.

    Wang et al. 2021, "Gradient vaccine: investigating and improving multi-task optimization in massively multilingual
    models", Algorithm 1, over the whole merged network. The paper sums over objectives; the weights here are divided by M.

    Args:
        objectives: names of the objectives.
        beta: share of the newest cosine in the running mean.
    """

    random = True
    recalls = True

    def __init__(self, objectives: list[str], beta: Share = 0.01) -> None:
        up_to_one(beta=beta)
        self.beta = beta
        super().__init__(objectives)
        self._cosines = torch.zeros(len(objectives), len(objectives), dtype=torch.float64)

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.GradVacWeighting(beta=self.beta)

    def unit(self, size: int) -> float:
        return 1 / size

    def ask(self, gramian: Tensor, active: Tensor) -> Tensor:
        # torchjd keeps the means of one set of objectives; here they belong to pairs, and pairs that are not active keep theirs
        pairs = active[:, None], active[None, :]
        self._method._phi_t = self._cosines[pairs]
        self._method._state_key = (len(active), gramian.dtype)
        weights = self._method(gramian)
        self._cosines[pairs] = self._method._phi_t
        return weights

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "cosines": dict(zip(self.objectives, self._cosines.tolist(), strict=True))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = state.get("cosines", {})
        same_objectives(saved, self.objectives)
        super().load_state_dict(state)
        order = [list(saved).index(name) for name in self.objectives]
        self._cosines = torch.tensor(list(saved.values()), dtype=torch.float64)[order][:, order]
