"""Objectives that one weighting merges with each other, as one of the levels of a step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from m2asr.moo.collectives import Collectives
from m2asr.moo.gramian import Pair, Products, all_pairs
from m2asr.moo.layers import conflicting
from m2asr.moo.reuse import Reuse
from m2asr.moo.rows import GradientRows
from m2asr.moo.weighting import Weighting

Terms = dict[Hashable, float]  # rows and their factors
Targets = dict[str, tuple[Hashable, float]]  # of every objective the row that takes its gradient, and its factor there


@dataclass
class Solution:
    """The weights of a level's objectives in one step, and the sum of rows that they make, for each group of columns."""

    weights: dict[str, float]
    sums: list[Terms] = field(default_factory=list)


class Level:
    """Objectives, their weighting, and the names of the rows in which their gradients are kept apart.

    Levels nest, from upper to lower: theta moves along lambda_1 G_1 + gamma_2 (lambda_2 G_2 + gamma_3 (...)). With one batch per step there
    is a row for every objective, with two batches (`draws`) one for each of both. Subclasses take three batches, or weigh running means.

    With `every` above 1 only every k-th step computes weights from gradients; those between use the last ones in the same way as
    static weights, on all draws. With `layers: conflicting` the weighting sees and weights the layers in which some pair of
    objectives has a negative cosine (after tracking; in batch 1 of two); elsewhere objectives are averaged (the finer step
    of the Objective Soups follow-up).

    Of several processes the first asks the weighting, and all use its answer.

    Args:
        objectives: names, in the order of the weighting's.
        weighting: how they are merged.
        every: steps between two times that weights are computed from gradients.
        layers: on which layers they apply.
        apart: keep gradients apart even where the weighting does not look at them, to measure their lengths and angles.
        group: the processes that train together.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        weighting: Weighting,
        every: int = 1,
        layers: Literal["all", "conflicting"] = "all",
        apart: bool = False,
        group: Collectives | None = None,
    ) -> None:
        self.objectives, self.weighting, self.group = list(objectives), weighting, group or Collectives()
        self.reuse, self.split = Reuse(every), layers == "conflicting"
        self.draws = weighting.draws
        self.apart = weighting.dynamic or apart

    @property
    def name(self) -> str:
        return "+".join(self.objectives)

    @property
    def count(self) -> int:
        """The most rows that it has at the same time."""
        return len(self.objectives) * self.draws if self.apart else 0

    @property
    def lasting(self) -> list[Hashable]:
        """The rows that stay from step to step."""
        return []

    def row(self, objective: str, draw: int = 0) -> Hashable:
        """The row of an objective. A level that needs one batch per step adds up the draws that other levels need."""
        return (objective, draw if self.draws == 2 else 0)

    def targets(self, draw: int, active: list[str], solve: bool) -> Targets | None:
        """The rows of a draw in which gradients are kept apart; None where they are added up with their last weights."""
        return {name: (self.row(name, draw), 1.0) for name in active}

    def due(self, number: int, active: list[str]) -> bool:
        """Whether step `number` computes weights from gradients."""
        return self.weighting.dynamic and self.reuse.due(number, active)

    def known(self, active: list[str]) -> dict[str, float]:
        """Weights that need no gradient of this step."""
        if self.weighting.dynamic:
            weights = self.reuse.weights or {}
            return {name: weights.get(name, 0.0) if name in active else 0.0 for name in self.objectives}
        return self._named(self._agreed(lambda: self.weighting.weights(active=self._indices(active))))

    def pairs(self, active: list[str]) -> list[Pair]:
        """The inner products of rows that `not_finite` and `solve` need."""
        firsts = self._rows(active, 0)
        if self.draws == 1:
            return all_pairs(firsts)
        squares = all_pairs(firsts) if self.split else [(row, row) for row in firsts]
        return squares + all_pairs(firsts, self._rows(active, 1))

    def track(self, rows: GradientRows, active: list[str]) -> list[Pair]:
        """Move the lasting rows by those of this step; returns the further pairs of rows whose inner products `solve` needs."""
        return []

    def not_finite(self, products: Products, active: list[str]) -> list[str]:
        """The active objectives whose gradient is not finite."""
        sums = dict(zip(products.pairs, products.values.sum(0).tolist(), strict=True))
        return [name for name in active if any(not abs(sums[pair]) < float("inf") for pair in self.pairs(active) if pair[0][0] == name)]

    def solve(self, products: Products, active: list[str], losses: Mapping[str, float], within: Mapping[str, float]) -> Solution:
        """The weights of this step from the inner products of rows, for each group of columns, and mean losses.

        `within` are weights that were computed at states; there are none here.
        """
        unit = float(self.draws**2)  # makes products of rows products of gradients: rows hold gradients divided by the number of draws
        indices, firsts = self._indices(active), self._weighed(active)
        same = products.matrix(firsts) if self.split or self.draws == 1 else None  # G_1 G_1^T of each group of columns (L, A, A)
        squares = torch.stack([products.matrix([row])[:, 0, 0] for row in firsts], 1)  # (L, A)
        weighted = conflicting(same) if self.split else torch.tensor([True] * len(squares))
        uniform = torch.tensor([float(name in active) for name in self.objectives], dtype=torch.float64) / max(1, len(active))
        weights = uniform
        if weighted.any():
            cross = same if self.draws == 1 else products.matrix(firsts, self._rows(active, 1))
            gramian = self._of_all(cross[weighted].sum(0) * unit, indices)
            norms = self._of_all(squares[weighted].sum(0) * unit, indices)
            values = torch.tensor([losses.get(name, 0.0) for name in self.objectives], dtype=torch.float64)
            weights = self._agreed(lambda: self.weighting.weights(gramian, indices, norms, values))
        sums = [self._terms(self._named(weights if is_weighted else uniform), active) for is_weighted in weighted.tolist()]
        return self._solution(weights, active, sums)

    def terms(self, weights: Mapping[str, float], active: list[str]) -> Terms:
        """The rows of this step's gradients, with known weights as factors."""
        return {self.row(name, draw): weights[name] for name in active for draw in range(self.draws)}

    def warning(self) -> str | None:
        """One line for the user if the weights behave badly."""
        return self.weighting.warning()

    def state_dict(self, rows: GradientRows) -> dict[str, Any]:
        """Plain values and tensors for a checkpoint, complete in process 0; all processes take part."""
        return {"weighting": self.weighting.state_dict(), "reuse": self.reuse.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], rows: GradientRows) -> None:
        """Continue from a `state_dict`. Raises UserError if it is that of another weighting or of other objectives."""
        if set(state) != set(self.state_dict(rows)):
            raise self.weighting.state_error()
        self.weighting.load_state_dict(dict(state["weighting"]))
        self.reuse.load_state_dict(state["reuse"])

    def _weighed(self, active: list[str]) -> list[Hashable]:
        """The rows whose Gramian gives the weights: those of the first batch."""
        return self._rows(active, 0)

    def _terms(self, weights: Mapping[str, float], active: list[str]) -> Terms:
        """The sum of rows along which theta moves with weights of this step."""
        return self.terms(weights, active)

    def _solution(self, weights: Tensor, active: list[str], sums: list[Terms]) -> Solution:
        named = self._named(weights)
        self.reuse.weights = {name: named[name] for name in active}
        return Solution(named, sums)

    def _agreed(self, compute: Callable[[], Tensor], size: int | None = None) -> Tensor:
        """Weights that one process computes for all, one per objective or `size` of them."""
        size = len(self.objectives) if size is None else size
        return self.group.broadcast(compute() if self.group.rank == 0 else torch.empty(size, dtype=torch.float64))

    def _rows(self, active: Sequence[str], draw: int) -> list[Hashable]:
        return [self.row(name, draw) for name in active]

    def _indices(self, active: Sequence[str]) -> list[int]:
        return [self.objectives.index(name) for name in active]

    def _of_all(self, values: Tensor, indices: Sequence[int]) -> Tensor:
        """Values of active objectives (A,) or (A, A) among those of all, 0 for the others."""
        result = torch.zeros([len(self.objectives)] * values.dim(), dtype=torch.float64)
        index = torch.tensor(indices)
        result[(index,) if values.dim() == 1 else (index[:, None], index)] = values
        return result

    def _named(self, weights: Tensor) -> dict[str, float]:
        return dict(zip(self.objectives, weights.tolist(), strict=True))
