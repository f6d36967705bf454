"""One multi-objective step: gradients on the backbone merged within and between levels, and plain gradients for the heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from m2asr.moo.carried import VERTEX
from m2asr.moo.collectives import Collectives
from m2asr.moo.feature_level import FeatureLevel
from m2asr.moo.gradients import GradientBuffers
from m2asr.moo.layers import layers_of
from m2asr.moo.level import Level
from m2asr.objectives.system import System
from m2asr.train.measure import Measuring, measure_lengths
from m2asr.train.passes import Draw, Outcome, Pass, share_totals
from m2asr.train.states import StateGradients


class JointStep:
    """Computes the gradients of one step: theta gets lambda_1 G_1 + gamma_2 (lambda_2 G_2 + gamma_3 (...)) over levels that nest.

    Two levels, recognition and translation above CPC, are M2ASR (Saif et al. 2024); a single one is multi-task learning. `streams` says
    for every objective what it reads. Weightings that look at gradients get one backward per objective over the backbone, or one per
    group of objectives that read the same states, where gradients at these states are enough (`FeatureLevel`). Known weights
    and the levels' factors multiply gradients where they enter the backbone, so that one backward per batch serves backbone and
    heads. Heads always get their own plain gradient. What no active objective trains has no gradient, so that an optimizer leaves it where
    it is: momentum and decay do not move it. With several processes gradients are summed over them before they are weighted, and
    all end with the same.
    """

    def __init__(
        self,
        system: System,
        streams: Mapping[str, str],
        levels: Sequence[Level],
        seed: int,
        dtype: torch.dtype,
        group: Collectives | None = None,
    ) -> None:
        self.system, self.levels, self.seed, self.dtype = system, list(levels), seed, dtype
        self.group = group or Collectives()
        self.streams = {name: streams[name] for level in levels for name in level.objectives}
        modules = [system.decoders, *(system.objectives[name] for name in self.streams)]
        self.heads = list(dict.fromkeys(param for module in modules for param in module.parameters()))
        self.buffers = GradientBuffers(list(system.encoder.parameters()), 1 + sum(level.rows for level in levels), self.group)
        self.layers = {name: self.buffers.columns_of(group) for name, group in layers_of(system.encoder).items()}
        first = 1
        for level in self.levels:
            level.settle(self.buffers, first, self.layers)
            first += level.rows
        self.measuring = Measuring(system, self.streams, self.buffers, self.layers, seed, dtype)

    def __call__(self, draws: Sequence[Draw], number: int, factors: Sequence[float], measure: bool = False) -> Outcome:
        """Forward and backward of step `number`.

        `factors` is what each level's merged gradient is multiplied by: 1, gamma_2, gamma_2 gamma_3 ... `measure` adds how gradients
        stand to each other, where those of some level are kept apart.
        """
        outcome = Outcome()
        self.system.zero_grad(set_to_none=True)
        keys = [(self.seed, number, place) for place in range(len(draws))]
        passes = [Pass(self.system, self.streams, self.buffers, draw, key, self.dtype) for draw, key in zip(draws, keys, strict=True)]
        share_totals(passes, self.group)
        for one in passes:  # an objective's loss is the mean over the draws that hold it
            one.draws = {name: sum(other.total[name] > 0 for other in passes) for name in self.streams}
        parts = [Part(level, factor, passes, number, measure) for level, factor in zip(self.levels, factors, strict=True)]
        measured = measure and bool(parts[0].active) and any(part.apart for part in parts)
        if measured:  # before the step, whose rows it uses
            gradients = self.measuring.gradients(parts, len(draws))
            spare = [row for part in parts if part.apart for row in part.level.passing]
            halves = self.measuring.halves(gradients, spare, draws[0], number)
            self.system.zero_grad(set_to_none=True)
        self.buffers.zero([0, *(row for level in self.levels for row in level.passing)])
        outcome.inactive = [name for part in parts for name in part.level.objectives if name not in part.active]
        outcome.idle = not any(part.active for part in parts)
        rows = [_rows(parts, place) for place in range(len(passes))]
        last = {row: place for place, one in enumerate(passes) for row, names in rows[place].items() if one.streams_into(names)}
        seen = Outcome()
        for place, one in enumerate(passes):
            complete = [row for row in rows[place] if last.get(row) == place]
            one.backward(rows[place], seen, complete, [part.cut for part in parts if part.cut])
        outcome.add(seen, self.group)
        outcome.problem = outcome.problem or _gradient_not_finite(parts)
        if outcome.problem is None:
            for part in parts:
                if not part.apart:
                    part.merge(passes, outcome)
            if measured:
                outcome.conflicts = self.measuring.conflicts(gradients, halves)
            for part in parts:
                if part.apart:
                    part.merge(passes, outcome)
            if outcome.conflicts is not None and outcome.problem is None:
                measure_lengths(outcome.conflicts, parts)
        for part in parts:
            if part is parts[0] or len(part.level.objectives) > 1:
                outcome.weights |= dict.fromkeys(part.level.objectives, 0.0) | part.weights
            if part.level.weighting.dynamic and part.factor and len(part.active) > 1:
                outcome.vertex["+".join(part.level.objectives)] = part.at_vertex
        self.buffers.gather(0)
        self.group.sum_gradients(self.heads)
        self.group.wait()
        if any(part.active and part.factor for part in parts):
            self.buffers.assign(0)
        return outcome

    def applied(self, outcome: Outcome) -> None:
        """Tell the weightings the losses of a step whose gradients were applied."""
        losses = outcome.mean_losses()
        for level in self.levels:
            active = {name: losses[name] for name in level.objectives if name not in outcome.inactive}
            if active:
                level.weighting.after_step(active)


class Part:
    """What a level does in one step: its active objectives, whether their gradients are kept apart, and whether weights are computed.

    An objective is active if it has a target in a draw; in all of them, where the weighting needs several.
    """

    def __init__(self, level: Level, factor: float, passes: Sequence[Pass], number: int, measure: bool) -> None:
        self.level, self.factor = level, factor
        enough = all if level.draws > 1 else any
        self.active = [name for name in level.objectives if enough(one.total[name] > 0 for one in passes)]
        self.due = factor != 0 and bool(self.active) and level.due(number, self.active)
        self.apart = factor != 0 and bool(self.active) and level.keeps_apart(self.due, measure)
        by_states = self.due and isinstance(level, FeatureLevel)
        self.cut = StateGradients(level, self.active, exact=self.apart) if by_states else None
        self.weights = {} if self.due else level.known(self.active)

    def targets(self, place: int) -> dict[str, tuple[int, float]]:
        """The row and the factor of every active objective in draw `place`, where its backward pass is not cut."""
        if self.cut:
            return {}
        if self.apart and (self.level.draws < 3 or place == 0):
            return {name: (self.level.row(name, place), 1.0) for name in self.active}
        if self.due:
            return {}  # three draws: what the second and the third are for is known later
        return {name: (0, self.factor * self.weights[name]) for name in self.active}

    def merge(self, passes: Sequence[Pass], outcome: Outcome) -> None:
        """Bring gradients that are kept apart into row 0."""
        if self.cut:
            self.weights = self.level.merge_groups(self.cut.weights, self.factor)
            if self.apart and outcome.conflicts is not None:
                deviation = self.level.deviation(self.weights, self.active)
                outcome.conflicts.deviation = max(deviation, outcome.conflicts.deviation or 0.0)
        elif self.due and self.level.draws == 3:
            # MoDo: G_1 (G_2^T lambda) needs one weighted backward on batch 2, the update one on batch 3
            carried, seen = self.level.current(self.active), Outcome()
            passes[1].backward({self.level.spare: {name: carried[name] for name in self.active}}, seen, complete=[self.level.spare])
            outcome.add(seen, self.level.buffers.group)
            if outcome.problem is None and not self.level.take_in_second():
                outcome.problem = f"the gradient of {', '.join(self.active)} in batch 2 is not finite"
            if outcome.problem:
                return
            self.weights, seen = self.level.weigh_third(self.active), Outcome()
            # each pass divides by the number of draws, and the update comes from batch 3 alone
            passes[2].backward({0: {name: 3 * self.factor * self.weights[name] for name in self.active}}, seen, complete=[0])
            outcome.add(seen, self.level.buffers.group)
        elif self.due:
            self.weights = self.level.weigh(self.active, outcome.mean_losses(), self.factor)
        elif self.apart:
            self.level.add(self.weights, self.factor)

    @property
    def at_vertex(self) -> bool:
        """Whether one objective has nearly all the weight; weights of gradient surgery may be negative or sum to more than 1."""
        sizes = [abs(weight) for weight in self.weights.values()]
        return max(sizes, default=0.0) > VERTEX * sum(sizes)

    def broken(self) -> list[str]:
        """Objectives whose gradient is not finite, where they are told apart."""
        at_states = self.cut.broken() if self.cut else []
        return at_states or (self.level.take_in(self.active) if self.apart else [])


def _rows(parts: Sequence[Part], place: int) -> dict[int, dict[str, float]]:
    """The rows of draw `place`, each with the objectives whose gradients it takes and their factors."""
    rows: dict[int, dict[str, float]] = {}
    for part in parts:
        for name, (row, factor) in part.targets(place).items():
            rows.setdefault(row, {})[name] = factor
    return rows


def _gradient_not_finite(parts: Sequence[Part]) -> str | None:
    broken = [name for part in parts for name in part.broken()]
    return f"the gradient of {', '.join(broken)} is not finite" if broken else None
