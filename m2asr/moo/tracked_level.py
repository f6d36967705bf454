"""A level whose weighting weighs running means of the gradients instead of those of one batch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch

from m2asr.form import check_form
from m2asr.moo.gramian import Pair, all_pairs
from m2asr.moo.level import Level, Terms
from m2asr.moo.rows import GradientRows


class TrackedLevel(Level):
    """A level with a further row for every objective, the running mean of its gradients (MoCo), along which theta moves."""

    @property
    def count(self) -> int:
        return super().count + len(self.objectives)

    @property
    def lasting(self) -> list[Hashable]:
        return [self.tracked(name) for name in self.objectives]

    def tracked(self, objective: str) -> Hashable:
        """The row that follows an objective's gradients over steps."""
        return ("tracked", objective)

    def pairs(self, active: list[str]) -> list[Pair]:
        """The squares alone, which tell whether gradients are finite; `track` returns what `solve` needs."""
        return [(row, row) for row in self._rows(active, 0)]

    def track(self, rows: GradientRows, active: list[str]) -> list[Pair]:
        for name in active:
            newest = self.weighting.beta if self.tracked(name) in rows else 1.0
            rows.part(self.tracked(name)).lerp_(rows.part(self.row(name)), newest)
        return all_pairs(self._weighed(active))

    def state_dict(self, rows: GradientRows) -> dict[str, Any]:
        vectors = {name: rows.part(self.tracked(name)) for name in self.objectives if self.tracked(name) in rows}
        return {**super().state_dict(rows), "tracked": {name: rows.shard.gathered(vector) for name, vector in vectors.items()}}

    def load_state_dict(self, state: Mapping[str, Any], rows: GradientRows) -> None:
        super().load_state_dict(state, rows)
        size = rows.shard.layout.size
        like = dict.fromkeys(self.objectives, torch.empty(size, dtype=rows.layout.dtype, device="meta"))
        check_form(state["tracked"], like, "tracked", partial=True)
        for name, vector in state["tracked"].items():
            rows.part(self.tracked(name)).copy_(rows.shard.part_of(vector))

    def _weighed(self, active: list[str]) -> list[Hashable]:
        return [self.tracked(name) for name in active]

    def _terms(self, weights: Mapping[str, float], active: list[str]) -> Terms:
        return {self.tracked(name): weights[name] for name in self.objectives}
