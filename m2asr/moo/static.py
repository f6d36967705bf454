"""Weights that stay as given."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.limits import Factor
from m2asr.moo.weighting import Weighting


class Static(Weighting):
    """Linear scalarization: the same weights in every step, whatever the gradients.

    Args:
        objectives: names of the objectives.
        weights: `sum` is 1 for each, so the losses are added; `equal` is 1 / (number of active objectives), their mean;
            or a number for each objective by name.

    Raises:
        UserError: an objective without a weight, an unknown objective, or a weight below 0.
    """

    dynamic = False

    def __init__(self, objectives: list[str], weights: dict[str, Factor] | Literal["equal", "sum"] = "sum") -> None:
        super().__init__(objectives)
        self.equal = weights == "equal"
        given = weights if isinstance(weights, dict) else dict.fromkeys(objectives, 1.0)
        for name in sorted(set(given) ^ set(objectives)):
            what = "no such objective" if name in given else "missing"
            raise UserError(f"weighting.weights.{name}: {what}; give one weight for each of {', '.join(objectives)}")
        for name, weight in given.items():
            if not 0 <= weight < math.inf:
                raise UserError(f"weighting.weights.{name}: {weight} is not a weight; give a number from 0 up")
        self._weights = torch.tensor([given[name] for name in objectives], dtype=torch.float64)

    def solve(self, active: Tensor, gramian: Tensor | None, squared_norms: Tensor | None) -> Tensor:
        weights = self._weights[active]
        return weights / len(active) if self.equal else weights
