"""Dynamic weight average."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.limits import Count, Positive
from m2asr.moo.learned import same_objectives
from m2asr.moo.weighting import Weighting


class DWA(Weighting):
    """More weight where the loss falls slowly: softmax(r / temperature), r_m = L_m(t - 1) / L_m(t - 2).

    Liu et al. 2019, "End-to-end multi-task learning with attention", equation 7, but for its factor M: here the weights sum
    to 1. L(t) is the mean loss over `window` steps, which takes the place of the paper's epoch, since streams of different
    lengths share none; an objective counts the steps in which it was active. Uniform until two windows are full.

    Args:
        objectives: names of the objectives.
        temperature: larger is closer to uniform.
        window: steps per mean.
    """

    dynamic = False

    def __init__(self, objectives: list[str], temperature: Positive = 2.0, window: Count = 100) -> None:
        super().__init__(objectives)
        if not temperature > 0:
            raise UserError(f"weighting.temperature: {temperature} is not possible; give a number above 0")
        if window < 1:
            raise UserError(f"weighting.window: {window} is not possible; give a number of steps from 1 up")
        self.temperature, self.window = temperature, window
        self._open: dict[str, list[float]] = {name: [0.0, 0] for name in self.objectives}  # sum and count of the open window
        self._means: dict[str, list[float]] = {name: [] for name in self.objectives}  # of the last two full windows

    def solve(self, active: Tensor, gramian: Tensor | None, squared_norms: Tensor | None) -> Tensor:
        means = [self._means[self.objectives[m]] for m in active]
        known = all(len(pair) == 2 and pair[0] > 0 for pair in means)
        rates = [new / old for old, new in means] if known else [1.0] * len(means)
        return torch.softmax(torch.tensor(rates, dtype=torch.float64) / self.temperature, dim=0)

    def after_step(self, losses: dict[str, float]) -> None:
        for name, loss in losses.items():
            total, count = self._open[name]
            self._open[name] = [total + loss, count + 1]
            if count + 1 == self.window:
                self._means[name] = [*self._means[name], (total + loss) / self.window][-2:]
                self._open[name] = [0.0, 0]

    def state_dict(self) -> dict[str, Any]:
        return {"open": {name: list(pair) for name, pair in self._open.items()}, "means": {n: list(m) for n, m in self._means.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        same_objectives(state.get("means", {}), self.objectives)
        self._open, self._means = ({name: list(state[key][name]) for name in self.objectives} for key in ("open", "means"))
