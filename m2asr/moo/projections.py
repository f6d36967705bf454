"""Weightings whose update conflicts with no gradient."""

from __future__ import annotations

from types import ModuleType

import torch

from m2asr.limits import Factor
from m2asr.moo.borrowed import Borrowed
from m2asr.moo.weighting import from_zero


class Projection(Borrowed):
    """A projection onto the dual cone of the gradients, by qpsolvers."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        from qpsolvers import QPError

        return *super().failures, QPError


class UPGrad(Projection):
    """Each gradient moved to the nearest vector that conflicts with none, then their mean.

    Quinton and Rey 2024, "Jacobian descent for multi-objective optimization", equation 5. The weights sum to more than 1 where
    gradients conflict.
    """

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.UPGradWeighting()


class DualProj(Projection):
    """The mean gradient moved to the nearest vector that conflicts with none.

    Lopez-Paz and Ranzato 2017, "Gradient episodic memory for continual learning", equation 11. The weights sum to more than
    1 where the mean conflicts with a gradient.
    """

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.DualProjWeighting()


class CAGrad(Borrowed):
    """The update nearest to the mean gradient that best helps the worst-off objective, within a ball of radius c |mean|.

    Liu et al. 2021, "Conflict-averse gradient descent for multi-task learning", Algorithm 1. Divided by 1 + c, what the weights
    of equal gradients sum to; all 0 at a Pareto-stationary point.

    Args:
        objectives: names of the objectives.
        c: radius of the ball; 0 is the mean gradient.
    """

    def __init__(self, objectives: list[str], c: Factor = 0.5) -> None:
        from_zero(c=c)
        self.c = c
        super().__init__(objectives)

    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        return aggregation.CAGradWeighting(c=self.c)

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        from cvxpy import SolverError

        return *super().failures, SolverError, TypeError  # the value of an unsolved variable is None

    def unit(self, size: int) -> float:
        return 1 / (1 + self.c)
