"""A level whose weighting takes three independent batches: two for the weights, and one for the update."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch

from m2asr.moo.gramian import Pair, Products
from m2asr.moo.level import Level, Solution, Targets


class ThreeDrawLevel(Level):
    """A level of MoDo with three batches (Chen et al. 2023): G_1 (G_2^T lambda) moves lambda, then theta moves along lambda G_3.

    Batch 1 has a row for every objective. Batch 2 needs one backward pass for all, weighted by the last lambda, whose gradient lies in one
    row; batch 3 one that is weighted by the new lambda, when that is known (`Plan.last`).
    """

    @property
    def count(self) -> int:
        return len(self.objectives) + 1 if self.apart else 0

    @property
    def along(self) -> Hashable:
        """The row for G_2^T lambda."""
        return ("along", self.name)

    def targets(self, draw: int, active: list[str], solve: bool) -> Targets | None:
        if draw == 0:
            return super().targets(draw, active, solve)
        if not solve:  # measured alone: only batch 1 is kept apart
            return None
        weights = self._last(active) if draw == 1 else {}
        return {name: (self.along, weight) for name, weight in weights.items() if name in active}

    def pairs(self, active: list[str]) -> list[Pair]:
        rows = self._rows(active, 0)
        return [(row, row) for row in rows] + [(row, self.along) for row in rows]

    def terms(self, weights: Mapping[str, float], active: list[str]) -> dict[Hashable, float]:
        return {self.row(name): weights[name] for name in active}

    def solve(self, products: Products, active: list[str], losses: Mapping[str, float], within: Mapping[str, float]) -> Solution:
        unit = float(self.draws**2)  # as in `Level.solve`
        indices, rows = self._indices(active), self._rows(active, 0)
        along = self._of_all(products.matrix(rows, [self.along]).sum(0)[:, 0] * unit, indices)
        norms = self._of_all(torch.stack([products.matrix([row])[:, 0, 0].sum() for row in rows]) * unit, indices)
        return self._solution(self._agreed(lambda: self.weighting.weights_along(along, norms, indices)), active, [])

    def _last(self, active: list[str]) -> dict[str, float]:
        """The weights before this step."""
        return self._named(self._agreed(lambda: self.weighting.current(self._indices(active))))
