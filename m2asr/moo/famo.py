"""Fast adaptive multitask optimization."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2asr.limits import Factor
from m2asr.moo.learned import LearnedScalars, same_objectives
from m2asr.moo.weighting import Weighting

SMALLEST = 1e-8  # smaller losses count as this, as in the released code


class FAMO(Weighting):
    """Equal relative progress of all losses at the price of one backward pass: w_m = c z_m / L_m with z = softmax(xi).

    Liu et al. 2023, "FAMO: fast adaptive multitask optimization", Algorithm 1: xi <- xi - rate (J^T delta + decay xi) by Adam, with
    delta_m = log L_m before the step - log L_m after it and J the Jacobian of the softmax; c makes the weights sum to 1. The
    loss after a step is read from the next step, on its batch, so no second forward pass is needed; the difference between batches
    averages out in Adam. Likewise L_m in the weights is the objective's loss in its last step. Uniform in the first step.

    Args:
        objectives: names of the objectives.
        rate: learning rate of xi.
        decay: pull of xi towards 0, that is of z towards uniform.
    """

    dynamic = False

    def __init__(self, objectives: list[str], rate: Factor = 0.025, decay: Factor = 1e-3) -> None:
        super().__init__(objectives)
        self._logits = LearnedScalars(self.objectives, rate, decay)
        self._last: dict[str, float | None] = dict.fromkeys(self.objectives)

    def solve(self, active: Tensor, gramian: Tensor | None, squared_norms: Tensor | None) -> Tensor:
        names = [self.objectives[m] for m in active]
        weights = torch.softmax(self._logits[names], dim=0)
        losses = [self._last[name] for name in names]
        if None not in losses:  # a ratio of losses needs all of them
            weights = weights / torch.tensor(losses, dtype=torch.float64)
        return weights / weights.sum()

    def after_step(self, losses: dict[str, float]) -> None:
        losses = {name: max(loss, SMALLEST) for name, loss in losses.items()}
        names = [name for name in losses if self._last[name] is not None]
        if names:
            shares = torch.softmax(self._logits[names], dim=0)
            fall = torch.tensor([math.log(self._last[name] / losses[name]) for name in names], dtype=torch.float64)
            slopes = shares * (fall - shares @ fall)  # J^T delta
            self._logits.descend(dict(zip(names, slopes.tolist(), strict=True)))
        self._last.update(losses)

    def state_dict(self) -> dict[str, Any]:
        return {"logits": self._logits.state_dict(), "last": dict(self._last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        same_objectives(state.get("last", {}), self.objectives)
        self._logits.load_state_dict(state["logits"])
        self._last = {name: state["last"][name] for name in self.objectives}
