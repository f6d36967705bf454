"""Weights from learned uncertainties."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2asr.limits import Factor
from m2asr.moo.learned import LearnedScalars
from m2asr.moo.weighting import Weighting


class Uncertainty(Weighting):
    """Each loss divided by its learned variance: sum_m (exp(-s_m) L_m + s_m) / 2 with s_m = log sigma_m^2.

    Kendall et al. 2018, "Multi-task learning using uncertainty to weigh losses for scene geometry and semantics", in the
    parametrisation of its section 4.1. The weights of a step are exp(-s), divided by their sum over the active objectives; heads keep
    their plain gradient. s follows after the step, once the losses are known, by its own Adam along (1 - exp(-s_m) L_m) / 2: the
    gradient that a joint optimizer would see, so nothing is delayed but the update itself.

    Args:
        objectives: names of the objectives.
        rate: learning rate of s.
    """

    dynamic = False

    def __init__(self, objectives: list[str], rate: Factor = 0.01) -> None:
        super().__init__(objectives)
        self._log_variance = LearnedScalars(self.objectives, rate)

    def solve(self, active: Tensor, gramian: Tensor | None, squared_norms: Tensor | None) -> Tensor:
        return torch.softmax(-self._log_variance[[self.objectives[m] for m in active]], dim=0)

    def after_step(self, losses: dict[str, float]) -> None:
        precision = torch.exp(-self._log_variance[list(losses)]).tolist()
        self._log_variance.descend({name: (1 - p * loss) / 2 for p, (name, loss) in zip(precision, losses.items(), strict=True)})

    def state_dict(self) -> dict[str, Any]:
        return self._log_variance.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._log_variance.load_state_dict(state)
