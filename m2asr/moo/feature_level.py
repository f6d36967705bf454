"""A level whose weights come from gradients at the states that objectives read, with one backward over theta per group."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from m2asr.moo.collectives import Collectives
from m2asr.moo.gramian import Pair, Products, all_pairs
from m2asr.moo.level import Level, Solution
from m2asr.moo.rows import GradientRows
from m2asr.moo.weighting import Weighting


@dataclass(frozen=True)
class StateGroup:
    """Objectives whose gradients at the states they read are weighted first, and go through theta together into `row`.

    exact: rows for every objective's gradient alone, to measure; empty where nothing is measured.
    """

    level: FeatureLevel
    objectives: tuple[str, ...]
    row: Hashable
    exact: Mapping[str, Hashable]


class FeatureLevel(Level):
    """Objectives in groups that read the same states of the same batch, weighted in two stages.

    Within a group the weights come from the Gramian of the gradients at those states (Sener and Koltun 2018, "Multi-task learning as
    multi-objective optimization", section 3.3: with MGDA the upper bound MGDA-UB), and one backward pass takes the weighted state
    gradients through theta into the group's row. Between groups they come from the exact Gramian of these rows. An objective's
    weight is the product of the two. This is not flat MGDA: a group enters as one direction, and state gradients stand in for those of
    the parameters. A group of one objective is exact, so with one objective per group the weights are those of `Level`.

    There is a row per group; with `apart` also one per objective, filled in measured steps only, at the price of a backward pass each.

    Args:
        objectives: names, in the order of the weighting's.
        weighting: how objectives of a group are merged; one without memory of earlier steps that takes one batch per step.
        across: the same weighting for the groups, in their order.
        groups: the objectives that read the same states; each objective is in one group.
        every: steps between two times that weights are computed from gradients.
        apart: keep exact gradients of every objective in measured steps, to measure conflicts and the weights' deviation.
        group: the processes that train together.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        weighting: Weighting,
        across: Weighting,
        groups: Sequence[Sequence[str]],
        every: int = 1,
        apart: bool = False,
        group: Collectives | None = None,
    ) -> None:
        super().__init__(objectives, weighting, every, group=group)
        self.across, self.groups, self.apart = across, [list(names) for names in groups], apart

    @property
    def count(self) -> int:
        return len(self.groups) + (len(self.objectives) if self.apart else 0)

    def merged(self, names: Sequence[str]) -> Hashable:
        """The row for the merged gradient of a group."""
        return ("merged", "+".join(names))

    def state_groups(self, active: Sequence[str], measure: bool) -> list[StateGroup]:
        """The groups of a step with their active objectives, and with rows for each of these where the step measures."""
        groups = []
        for names in self._present(active):
            members = tuple(name for name in names if name in active)
            groups.append(StateGroup(self, members, self.merged(names), {name: self.row(name) for name in members} if measure else {}))
        return groups

    def pairs(self, active: list[str]) -> list[Pair]:
        return all_pairs([self.merged(names) for names in self._present(active)])

    def not_finite(self, products: Products, active: list[str]) -> list[str]:
        rows = {self.merged(names): names for names in self._present(active)}
        squares = products.matrix(list(rows)).sum(0).diagonal().tolist()
        broken = [name for names, square in zip(rows.values(), squares, strict=True) for name in names if not square < float("inf")]
        return [name for name in active if name in broken]

    def weigh_states(self, names: Sequence[str], gramian: Tensor) -> dict[str, float]:
        """Weights within a group for its active objectives `names`, from the Gramian (K, K) of their state gradients, on the host.

        The Gramian is that of the whole batch: parts of a batch, such as those of other processes, add theirs up first. Where it is not
        finite, the objectives whose gradient is not get NaN, and the others 0.
        """
        if not gramian.isfinite().all():
            squares = zip(names, gramian.diagonal().tolist(), strict=True)
            return {name: 0.0 if square < float("inf") else float("nan") for name, square in squares}
        indices = self._indices(names)
        weights = self._agreed(lambda: self.weighting.weights(self._of_all(gramian, indices), indices))[indices]
        return dict(zip(names, weights.tolist(), strict=True))

    def solve(self, products: Products, active: list[str], losses: Mapping[str, float], within: Mapping[str, float]) -> Solution:
        """The weights of this step from the groups' merged gradients and the weights `within` the groups."""
        present = self._present(active)
        numbers = [self.groups.index(names) for names in present]
        index, gramian = torch.tensor(numbers), torch.zeros(len(self.groups), len(self.groups), dtype=torch.float64)
        gramian[index[:, None], index] = products.matrix([self.merged(names) for names in present]).sum(0)
        across = self._agreed(lambda: self.across.weights(gramian, numbers), len(self.groups)).tolist()
        named = dict.fromkeys(self.objectives, 0.0)
        for names, weight in zip(self.groups, across, strict=True):
            named |= {name: weight * within[name] for name in names if name in active}
        self.reuse.weights = {name: named[name] for name in active}
        return Solution(named, [{self.merged(names): across[number] for number, names in zip(numbers, present, strict=True)}])

    def deviation(self, weights: Mapping[str, float], active: list[str], gramian: Tensor) -> float:
        """The largest |difference| between `weights` and the flat exact ones, of the exact Gramian (A, A) of active objectives."""
        indices = self._indices(active)
        exact = copy.deepcopy(self.weighting).weights(self._of_all(gramian, indices), indices).tolist()
        return max(abs(weights[name] - weight) for name, weight in zip(self.objectives, exact, strict=True))

    def warning(self) -> str | None:
        return super().warning() or self.across.warning()

    def state_dict(self, rows: GradientRows) -> dict[str, Any]:
        return {**super().state_dict(rows), "across": self.across.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], rows: GradientRows) -> None:
        super().load_state_dict(state, rows)
        self.across.load_state_dict(state["across"])

    def _present(self, active: Sequence[str]) -> list[list[str]]:
        """The groups that have an active objective."""
        return [names for names in self.groups if any(name in active for name in names)]
