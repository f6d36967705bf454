"""Direction-oriented multi-objective descent."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.limits import Count, Factor, Positive, ShareBelowOne
from m2asr.moo.borrowed import Borrowed
from m2asr.moo.learned import same_objectives
from m2asr.moo.weighting import from_zero


class SDMGrad(Borrowed):
    """MGDA's weights pulled towards the mean gradient, by steps of SGD on the cross-Gramian of two independent batches.

    w <- Proj(w - step (G_1 G_2^T (w + pull / M))), `iterations` times per batch pair with momentum; the weights are (w + pull / M) /
    (1 + pull). Xiao, Ban and Ji 2023, "Direction-oriented multi-objective learning: simple and provable stochastic
    algorithms", Algorithm 1. The shared parameters move along both batches; the paper takes a third one. torchjd divides the product by
    the squared mean of the lengths on its diagonal, which two noisy batches may give as 0.

    Args:
        objectives: names of the objectives.
        step: step size of w, free of units.
        momentum: of these steps, from 0, below 1.
        iterations: steps per batch pair.
        pull: strength of the pull towards the mean gradient; 0 is MGDA.
    """

    draws = 2
    recalls = True

    def __init__(
        self, objectives: list[str], step: Positive = 10.0, momentum: ShareBelowOne = 0.5, iterations: Count = 20, pull: Factor = 0.3
    ) -> None:
        from_zero(pull=pull)
        if not 0 < step < float("inf"):
            raise UserError(f"weighting.step: {step} is not possible; give a number above 0")
        if not 0 <= momentum < 1:
            raise UserError(f"weighting.momentum: {momentum} is not possible; give a number from 0, below 1")
        if iterations < 1:
            raise UserError(f"weighting.iterations: {iterations} is not possible; give a number from 1 up")
        self.options = {"lr": step, "momentum": momentum, "n_iter": iterations, "lambda_": pull}
        super().__init__(objectives)
        self._carried = torch.full((len(objectives),), 1 / len(objectives), dtype=torch.float64)

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.SDMGradWeighting(**self.options)

    def ask(self, gramian: Tensor, active: Tensor) -> Tensor:
        # torchjd carries the w of one set of objectives; here those that are not active keep their share
        share = self._carried[active].sum()
        inside = self._carried[active] / share if share > 0 else torch.full_like(self._carried[active], 1 / len(active))
        self._method._w, self._method._state_key = inside, (len(active), gramian.dtype, gramian.device)
        weights = self._method(gramian)
        self._carried[active] = share * self._method._w
        return weights

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "carried": dict(zip(self.objectives, self._carried.tolist(), strict=True))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = state.get("carried", {})
        same_objectives(saved, self.objectives)
        super().load_state_dict(state)
        self._carried = torch.tensor([saved[name] for name in self.objectives], dtype=torch.float64)
