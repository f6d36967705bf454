"""Weights of another method, averaged over steps."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from m2asr.limits import Share
from m2asr.moo.learned import same_objectives
from m2asr.moo.mgda import MGDA
from m2asr.moo.projections import CAGrad, UPGrad
from m2asr.moo.surgery import PCGrad
from m2asr.moo.weighting import Weighting, up_to_one

AVERAGED = {"mgda": MGDA, "pcgrad": PCGrad, "cagrad": CAGrad, "upgrad": UPGrad}


class CRMOGM(Weighting):
    """Running means of another method's weights, so that the noise of single batches moves them less.

    lambda <- alpha lambda + (1 - alpha) (the weights of the method in this step), beginning with those of the first step (Zhou et al. 2022,
    "On the convergence of stochastic multi-objective gradient manipulation and beyond", with a constant alpha, as in torchjd's
    CRMOGMWeighting). Objectives that are not active keep their share.

    Args:
        objectives: names of the objectives.
        of: the method, with its defaults.
        alpha: share of the past; 0 is the method itself.
    """

    recalls = True

    def __init__(self, objectives: list[str], of: Literal["mgda", "pcgrad", "cagrad", "upgrad"] = "mgda", alpha: Share = 0.9) -> None:
        super().__init__(objectives)
        up_to_one(alpha=alpha)
        self.alpha = alpha
        self._method = AVERAGED[of](objectives)
        self._lambda: Tensor | None = None

    def solve(self, active: Tensor, gramian: Tensor, squared_norms: Tensor) -> Tensor:
        newest = self._method.solve(active, gramian, squared_norms)
        if self._lambda is None:
            self._lambda = torch.full((len(self.objectives),), 1 / len(self.objectives), dtype=torch.float64)
            self._lambda[active] = newest * len(active) / len(self.objectives)
        share = self._lambda[active].sum() / self._lambda.sum()
        if not share > 0:  # objectives that are not active have all the weight
            return newest
        weights = self.alpha * self._lambda[active] / share + (1 - self.alpha) * newest
        self._lambda[active] = share * weights
        return weights

    def warning(self) -> str | None:
        return self._method.warning()

    def state_dict(self) -> dict[str, Any]:
        weights = None if self._lambda is None else self._lambda.tolist()
        return {"names": self.objectives, "lambda": weights, "of": self._method.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        same_objectives(dict.fromkeys(state.get("names", ())), self.objectives)
        self._method.load_state_dict(state["of"])
        saved = state["lambda"]
        indices = [state["names"].index(name) for name in self.objectives]
        self._lambda = None if saved is None else torch.tensor(saved, dtype=torch.float64)[indices]
