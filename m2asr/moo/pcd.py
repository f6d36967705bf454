"""Priority-constrained descent."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from m2asr.config import check_exists
from m2asr.errors import UserError
from m2asr.limits import Factor, ShareBelowOne
from m2asr.moo.borrowed import Borrowed
from m2asr.moo.learned import same_objectives
from m2asr.moo.weighting import up_to_one


class PCD(Borrowed):
    """The update nearest to the gradient of one objective, the primary, along which every other one still makes some progress.

    argmin_d ||d - h_1||^2 with h_j d >= tau ||h_j||^2 for the others, where h = g divided by the root of a running mean of its squared
    length; then as long as g_1. Where no d fulfils all, g_1 itself. Varam and AlHajri 2026, "Not all objectives are born
    equal: priority-constrained descent for hierarchical multi-objective optimization". The weights of equal gradients are 1 for the
    primary and 0 for the others. An objective's mean runs over the steps in which it was active.

    Args:
        objectives: names of the objectives.
        primary: one of them, default the first; where it is not active, the first active objective.
        tau: share of the progress along its own gradient that every other objective gets; 0 forbids only that it gets worse.
        beta: share of the past in the running mean.
    """

    recalls = True

    def __init__(self, objectives: list[str], primary: str | None = None, tau: Factor = 0.02, beta: ShareBelowOne = 0.999) -> None:
        up_to_one(tau=tau)
        if not 0 <= beta < 1:
            raise UserError(f"weighting.beta: {beta} is not possible; give a number from 0, below 1")
        if primary is not None:
            check_exists(primary, objectives, "weighting.primary")
        self.primary = objectives.index(primary or objectives[0])
        self.tau, self.beta = tau, beta
        super().__init__(objectives)
        self._squares = torch.zeros(len(objectives), dtype=torch.float64)  # running means of squared lengths
        self._counts = torch.zeros(len(objectives), dtype=torch.long)  # of steps in them

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.PCDWeighting(tau=self.tau, beta=self.beta, eps=0.0)

    def solve(self, active: Tensor, gramian: Tensor, squared_norms: Tensor) -> Tensor:
        self._counts[active] += 1
        share = (1 - self.beta) / (1 - self.beta ** self._counts[active].double())  # Adam's correction of a mean that starts at 0
        self._squares[active] += share * (squared_norms - self._squares[active])
        return super().solve(active, gramian, squared_norms)

    def ask(self, gramian: Tensor, active: Tensor) -> Tensor:
        order = (active != self.primary).long().argsort(stable=True)  # torchjd takes the first for the primary
        squares = self._squares[active][order]
        scales = torch.where(squares > 0, squares.rsqrt(), 0.0)
        # torchjd counts the steps of all objectives together, and forgets them where their number changes
        self._method._update_scales = lambda _: scales
        weights = torch.empty(len(active), dtype=torch.float64)
        weights[order] = self._method(gramian[order][:, order])
        return weights

    def state_dict(self) -> dict[str, Any]:
        lengths = zip(self._squares.tolist(), self._counts.tolist(), strict=True)
        return {**super().state_dict(), "lengths": dict(zip(self.objectives, map(list, lengths), strict=True))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = state.get("lengths", {})
        same_objectives(saved, self.objectives)
        super().load_state_dict(state)
        self._squares = torch.tensor([saved[name][0] for name in self.objectives], dtype=torch.float64)
        self._counts = torch.tensor([saved[name][1] for name in self.objectives])
