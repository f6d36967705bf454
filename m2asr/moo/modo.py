"""Multi-objective gradient descent with double sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.moo.simplex import project_onto_simplex
from m2asr.moo.weighting import Weighting

MEMORY = 100  # steps over which the mean of squared gradient norms runs
VERTEX = 0.99  # above this weight one objective rules alone
ENOUGH = 100  # steps before a warning means something


class MoDo(Weighting):
    """Weights that follow MGDA's through noise: one projected gradient step per batch pair, carried from step to step.

    lambda <- Proj(lambda - step (G_1 G_2^T lambda + rho lambda)), started at 1 / M, where G_1 and G_2 come from two independent
    batches, so the product has no bias from squared noise. The shared parameters then move along lambda (G_1 + G_2) / 2 with
    the new lambda, or along lambda G_3 of a third batch (Chen et al. 2023, "Three-way trade-off in multi-objective learning:
    optimization, generalization and conflict-avoidance", the MoDo algorithm). step 0 is static uniform weighting; a large step
    approaches MGDA on every batch.

    Args:
        objectives: names of the objectives.
        step: step size of lambda; with `scale: auto` free of units.
        rho: strength of the pull towards uniform weights.
        scale: `auto` divides the products by one running mean of squared gradient norms, common to all objectives, which
            leaves the limit of lambda where it is (for rho 0); `none` is the paper. Raw CTC gradients are so long that without
            it lambda jumps between vertices.
        samples: independent batches per step, 2 or 3.
    """

    def __init__(
        self,
        objectives: list[str],
        step: float = 0.1,
        rho: float = 0.0,
        scale: Literal["auto", "none"] = "auto",
        samples: Literal[2, 3] = 2,
    ) -> None:
        super().__init__(objectives)
        for key, value in {"step": step, "rho": rho}.items():
            if not 0 <= value < float("inf"):
                raise UserError(f"weighting.{key}: {value} is not possible; give a number from 0 up")
        self.step, self.rho, self.scale, self.draws = step, rho, scale, samples
        self._lambda = torch.full((len(objectives),), 1 / len(objectives), dtype=torch.float64)
        self._mean_norm = 0.0
        self._steps = 0  # steps with at least two active objectives
        self._vertex_steps = 0

    def solve(self, active: Tensor, gramian: Tensor, squared_norms: Tensor) -> Tensor:
        if len(active) == 1:
            return torch.ones(1, dtype=torch.float64)
        inside = self._inside(active)
        self._steps += 1
        slope = gramian @ inside / self._unit(squared_norms) + self.rho * inside
        inside = project_onto_simplex(inside - self.step * slope)
        self._vertex_steps += int(inside.max() > VERTEX)
        self._lambda[active] = self._lambda[active].sum() * inside  # those that are away keep their share
        return inside

    def current(self, active: Sequence[int] | None = None) -> Tensor:
        """lambda (M,) before this step, 0 for objectives that are not active; sums to 1."""
        index = self.index(active)
        weights = torch.zeros_like(self._lambda)
        weights[index] = self._inside(index)
        return weights

    def weights_along(self, products: Tensor, squared_norms: Tensor, active: Sequence[int] | None = None) -> Tensor:
        """`weights` from `products` = G_1 (G_2^T current) (M,): one backward pass on the second batch, weighted by `current`."""
        # every column of the cross-Gramian may be G_1 G_2^T current, because current sums to 1
        return self.weights(products[:, None].expand(-1, len(products)), active, squared_norms)

    @property
    def vertex_share(self) -> float:
        """The share of steps so far in which one objective had more than 0.99 of the weight."""
        return self._vertex_steps / max(1, self._steps)

    def warning(self) -> str | None:
        if self._steps < ENOUGH or self.vertex_share <= 0.5:
            return None
        remedy = "set weighting.scale to auto" if self.scale == "none" else "lower weighting.step"
        return f"weighting: one objective had more than {VERTEX} of the weight in {self.vertex_share:.0%} of {self._steps} steps; {remedy}"

    def state_dict(self) -> dict[str, Any]:
        return {
            "lambda": dict(zip(self.objectives, self._lambda.tolist(), strict=True)),
            "mean_norm": self._mean_norm,
            "steps": self._steps,
            "vertex_steps": self._vertex_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = state.get("lambda", {})
        if set(saved) != set(self.objectives):
            raise UserError(
                f"weighting: the checkpoint has MoDo weights for {', '.join(saved) or 'no objectives'}, the config has "
                f"{', '.join(self.objectives)}; resume with the objectives of the checkpoint, or start anew from its model with --init_from"
            )
        self._lambda = torch.tensor([saved[name] for name in self.objectives], dtype=torch.float64)
        self._mean_norm, self._steps, self._vertex_steps = state["mean_norm"], state["steps"], state["vertex_steps"]

    def _inside(self, active: Tensor) -> Tensor:
        share = self._lambda[active]
        return share / share.sum() if share.sum() > 0 else torch.full_like(share, 1 / len(active))

    def _unit(self, squared_norms: Tensor) -> float:
        if self.scale == "none":
            return 1.0
        # the plain mean of the first steps, then an exponential one: gradients shrink while a network learns
        share = 1 / min(self._steps, MEMORY)
        self._mean_norm += share * (float(squared_norms.mean()) - self._mean_norm)
        return self._mean_norm or 1.0
