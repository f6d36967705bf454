"""Weights that are carried from step to step on the simplex."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from m2asr.moo.learned import same_objectives
from m2asr.moo.simplex import project_onto_simplex
from m2asr.moo.weighting import Weighting, from_zero

MEMORY = 100  # steps over which the mean of squared gradient norms runs
VERTEX = 0.99  # above this weight one objective rules alone
ENOUGH = 100  # steps before a warning means something


class CarriedWeights(Weighting):
    """One projected step per call towards the min-norm point: lambda <- Proj(lambda - step (A lambda + rho lambda)), from 1 / M.

    A is what the subclass gives as Gramian: two independent batches' in MoDo, that of tracked gradients in MoCo.

    Args:
        objectives: names of the objectives.
        step: step size of lambda; with `scale: auto` free of units.
        rho: strength of the pull towards uniform weights.
        scale: `auto` divides A by one running mean of squared gradient norms, common to all objectives, which
            leaves the limit of lambda where it is (for rho 0); `none` is the papers'. Raw CTC gradients are so long that without
            it lambda jumps between vertices. `each` divides every gradient by the running mean of its own length: lambda then depends
            on the angles between gradients alone, where the min-norm point otherwise favours the shortest gradient.
    """

    recalls = True

    def __init__(self, objectives: list[str], step: float, rho: float, scale: Literal["auto", "each", "none"]) -> None:
        super().__init__(objectives)
        from_zero(step=step, rho=rho)
        self.step, self.rho, self.scale = step, rho, scale
        self._lambda = torch.full((len(objectives),), 1 / len(objectives), dtype=torch.float64)
        self._mean_norm = 0.0
        self._squares = torch.zeros(len(objectives), dtype=torch.float64)  # running means of squared lengths, of `scale: each`
        self._seen = [0] * len(objectives)  # steps in each of these
        self._steps = 0  # steps with at least two active objectives
        self._vertex_steps = 0

    def solve(self, active: Tensor, gramian: Tensor, squared_norms: Tensor) -> Tensor:
        if len(active) == 1:
            return torch.ones(1, dtype=torch.float64)
        inside = self._inside(active)
        self._steps += 1
        lengths = self._lengths(active, squared_norms)
        slope = (gramian / lengths.outer(lengths)) @ inside + self.rho * inside
        inside = project_onto_simplex(inside - self.step * slope)
        self._vertex_steps += int(inside.max() > VERTEX)
        self._lambda[active] = self._lambda[active].sum() * inside  # objectives that are not active keep their share
        weights = inside / lengths  # of the gradients themselves, which are divided by their lengths
        return weights / weights.sum()

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
            "squares": dict(zip(self.objectives, zip(self._squares.tolist(), self._seen, strict=True), strict=True)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = state.get("lambda", {})
        same_objectives(saved, self.objectives)
        self._lambda = torch.tensor([saved[name] for name in self.objectives], dtype=torch.float64)
        squares = [state.get("squares", {}).get(name, (0.0, 0)) for name in self.objectives]  # of older revisions: none
        self._squares, self._seen = torch.tensor([mean for mean, _ in squares], dtype=torch.float64), [steps for _, steps in squares]
        self._mean_norm, self._steps, self._vertex_steps = state["mean_norm"], state["steps"], state["vertex_steps"]

    def _inside(self, active: Tensor) -> Tensor:
        share = self._lambda[active]
        return share / share.sum() if share.sum() > 0 else torch.full_like(share, 1 / len(active))

    def _lengths(self, active: Tensor, squared_norms: Tensor) -> Tensor:
        """The lengths (A,) by which the gradients of this step are divided.

        They come from means that are plain over the first steps, then exponential, since gradients shrink while a network learns.
        """
        if self.scale == "none":
            return torch.ones_like(squared_norms)
        if self.scale == "auto":
            self._mean_norm += (float(squared_norms.mean()) - self._mean_norm) / min(self._steps, MEMORY)
            return torch.full_like(squared_norms, self._mean_norm or 1.0).sqrt()
        for m, square in zip(active.tolist(), squared_norms, strict=True):
            self._seen[m] += 1
            self._squares[m] += (square - self._squares[m]) / min(self._seen[m], MEMORY)
        lengths = self._squares[active].sqrt()
        return torch.where(lengths > 0, lengths, 1.0)
