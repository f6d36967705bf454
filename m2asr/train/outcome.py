"""The results of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from m2asr.moo.carried import VERTEX
from m2asr.moo.gramian import Products
from m2asr.moo.monitor import Conflicts
from m2asr.moo.plan import Plan
from m2asr.train.tally import Tally


@dataclass
class Outcome:
    """The results of a step; its gradients lie in the `.grad` of every parameter that it trains."""

    losses: dict[str, tuple[float, float]] = field(default_factory=dict)  # objective -> sum, weight
    metrics: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)  # lambda within every level of several objectives
    vertex: dict[str, bool] = field(default_factory=dict)  # of every level that computes weights: one objective had nearly all
    gamma: dict[str, float] = field(default_factory=dict)  # of every level below the first, by the names of its objectives
    conflicts: Conflicts | None = None
    inactive: list[str] = field(default_factory=list)  # objectives without a target in this step
    idle: bool = False  # no objective has a target, so there is no gradient at all
    seconds: float = 0.0  # through the encoder, without padding
    problem: str | None = None  # a loss or gradient is not finite: the step must not be applied

    def mean_losses(self) -> dict[str, float]:
        """Mean losses of the objectives that were computed."""
        return {name: total / weight for name, (total, weight) in self.losses.items() if weight}

    def filled(self, plan: Plan, tally: Tally) -> Outcome:
        """Fill in the fields that follow from the plan and the tally of the step; returns this outcome."""
        self.losses, self.metrics, self.seconds = tally.losses(), tally.metrics(), tally.seconds
        self.inactive = [name for step in plan.levels for name in step.level.objectives if name not in step.active]
        self.idle = not plan.plain and not any(step.active for step in plan.levels)
        for step in plan.levels:
            if step is plan.levels[0] or len(step.level.objectives) > 1:
                self.weights |= dict.fromkeys(step.level.objectives, 0.0) | step.weights
            if step.level.weighting.dynamic and step.factor and len(step.active) > 1:
                sizes = [abs(weight) for weight in step.weights.values()]  # of gradient surgery may be negative or sum to more than 1
                self.vertex[step.level.name] = max(sizes, default=0.0) > VERTEX * sum(sizes)
        return self


def not_finite(plan: Plan, products: Products, within: Mapping[str, float]) -> str | None:
    """A message about gradients that are kept apart and not finite, at states (a weight of NaN) or on theta; None if all are finite."""
    steps = [step for step in plan.levels if step.apart or step.by_states]
    names = [name for name, weight in within.items() if math.isnan(weight)]
    names = names or [name for step in steps for name in step.level.not_finite(products, step.active)]
    return f"the gradient of {', '.join(names)} is not finite" if names else None
