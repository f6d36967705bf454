"""A level whose weights come from gradients at the states that objectives read, with one backward over the backbone per group."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from m2asr.moo.level import Level
from m2asr.moo.weighting import Weighting


class FeatureLevel(Level):
    """Objectives in groups that read the same states of the same batch, weighted in two stages.

    Within a group the weights come from the Gramian of the gradients at those states (Sener and Koltun 2018, "Multi-task learning as
    multi-objective optimization", section 3.3: with MGDA the upper bound MGDA-UB), and one backward pass takes the weighted state
    gradients through the backbone into the group's row. Between groups they come from the exact Gramian of these rows. An objective's
    weight is the product of the two. This is not flat MGDA: a group enters as one direction, and state gradients stand in for those of
    the parameters. A group of one objective is exact, so with one objective per group the weights are those of `Level`.

    Rows: one per group; with `apart` also one per objective, filled in measured steps only, at the price of a backward pass each.

    Args:
        objectives: names, in the order of the weighting's.
        weighting: how objectives of a group are merged; one without memory of earlier steps that takes one batch per step.
        across: the same weighting for the groups, in their order.
        groups: the objectives that read the same states; each objective is in one group.
        every: steps between two times that weights are computed from gradients.
        apart: keep exact gradients of every objective in measured steps, to tell conflicts and the weights' deviation.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        weighting: Weighting,
        across: Weighting,
        groups: Sequence[Sequence[str]],
        every: int = 1,
        apart: bool = False,
    ) -> None:
        super().__init__(objectives, weighting, every)
        self.across, self.groups = across, [list(group) for group in groups]
        self.apart = apart
        self.rows = len(self.groups) + (len(self.objectives) if apart else 0)

    def keeps_apart(self, due: bool, measure: bool) -> bool:
        return self.apart and measure

    def row(self, name: str, draw: int = 0) -> int:
        return self.first + len(self.groups) + self.objectives.index(name)

    def group_row(self, place: int) -> int:
        """Where the merged gradient of a group goes."""
        return self.first + place

    def weigh_group(self, names: Sequence[str], gramian: Tensor) -> Tensor:
        """Weights (K,) within a group for its active objectives `names`, from the Gramian (K, K) of their state gradients.

        The Gramian is that of the whole batch: parts of a batch, such as those of other processes, add theirs up first. Where it is not
        finite, neither are the weights.
        """
        if not gramian.isfinite().all():
            return torch.full((len(names),), torch.nan, dtype=torch.float64)
        indices = self._indices(list(names))
        whole = torch.zeros(len(self.objectives), len(self.objectives), dtype=torch.float64)
        whole[torch.tensor(indices)[:, None], torch.tensor(indices)] = gramian.to("cpu", torch.float64)
        return self._agreed(lambda: self.weighting.weights(whole, indices))[indices]

    def merge_groups(self, within: Mapping[str, float], factor: float) -> dict[str, float]:
        """The weights of this step from those `within` the groups, taken in before; adds the merged gradient times `factor` to row 0."""
        rows = [self.group_row(place) for place in range(len(self.groups))]
        present = [place for place, group in enumerate(self.groups) if any(name in within for name in group)]
        across = self._agreed(lambda: self.across.weights(self._merged, present), len(rows)).tolist()
        self.buffers.merge([0, *rows], [1.0, *(factor * weight for weight in across)], 0)
        named = dict.fromkeys(self.objectives, 0.0)
        for group, weight in zip(self.groups, across, strict=True):
            named |= {name: weight * within[name] for name in group if name in within}
        self.reuse.weights = {name: named[name] for name in within}
        return named

    def take_in_groups(self, active: Sequence[str]) -> list[str]:
        """Take in the groups' merged gradients; returns the active objectives of those that are not finite."""
        self._merged = self.buffers.gramian([self.group_row(place) for place in range(len(self.groups))])
        squares = self._merged.diagonal().tolist()
        broken = [name for group, square in zip(self.groups, squares, strict=True) for name in group if not square < float("inf")]
        return [name for name in active if name in broken]

    def deviation(self, weights: Mapping[str, float], active: list[str]) -> float:
        """How far `weights` are from the flat exact ones: the largest |difference|; needs every objective's exact gradient in its row."""
        exact = copy.deepcopy(self.weighting).weights(self.buffers.gramian(self._rows_of(0)), self._indices(active)).tolist()
        return max(abs(weights[name] - weight) for name, weight in zip(self.objectives, exact, strict=True))

    def warning(self) -> str | None:
        return super().warning() or self.across.warning()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "across": self.across.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.across.load_state_dict(state["across"])
