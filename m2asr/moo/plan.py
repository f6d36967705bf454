"""The plan of a step, as data: which gradients each pass computes, and when weights are computed from them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from m2asr.moo.feature_level import FeatureLevel, StateGroup
from m2asr.moo.gramian import Pair
from m2asr.moo.level import Level, Targets

MERGED = "merged"  # the row of the gradient along which theta moves


@dataclass
class LevelStep:
    """A level in one step.

    active: its objectives that have a target, in all draws where the weighting needs several. factor: that of its merged gradient. solve:
    weights are computed from gradients of this step. apart: every gradient has its own row. weights: those that are known before the step.
    """

    level: Level
    factor: float
    active: list[str]
    solve: bool
    apart: bool
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def by_states(self) -> bool:
        """Whether weights come from gradients at states in this step."""
        return self.solve and isinstance(self.level, FeatureLevel)

    def targets(self, draw: int) -> Targets:
        """The row and the factor of every active objective's gradient in a draw of the first passes."""
        if self.by_states:
            return {}
        targets = self.level.targets(draw, self.active, self.solve) if self.apart else None
        return {name: (MERGED, self.factor * self.weights[name]) for name in self.active} if targets is None else targets


@dataclass(frozen=True)
class Pass:
    """One forward over a draw, and one backward for each row.

    rows: for every row the objectives whose gradients it takes, with their factors on theta. groups: further objectives, merged at
    states. complete: the rows that take nothing after this pass.
    """

    draw: int
    rows: Mapping[Hashable, Mapping[str, float]]
    groups: Sequence[StateGroup] = ()
    complete: Collection[Hashable] = ()


@dataclass(frozen=True)
class Plan:
    """The passes of a step, and its levels.

    After `passes` the levels that keep gradients apart compute weights from the inner products `pairs` of rows, and are merged. `last` are
    passes whose factors are multiplied by the weights that a level has computed by then.
    """

    levels: list[LevelStep]
    passes: list[Pass]
    last: list[tuple[Pass, LevelStep]]
    plain: list[str]  # objectives outside all levels that have a target

    @property
    def pairs(self) -> list[Pair]:
        """The inner products of rows that weights, and the check that gradients are finite, need."""
        return [pair for step in self.levels if step.apart or step.by_states for pair in step.level.pairs(step.active)]

    @property
    def split(self) -> bool:
        """Whether weights need the inner products of every layer."""
        return any(step.solve and step.level.split for step in self.levels)


def plan_step(
    levels: Sequence[Level],
    factors: Sequence[float],
    present: Sequence[Collection[str]],
    number: int,
    measure: bool = False,
    plain: Collection[str] = (),
) -> Plan:
    """The plan of step `number` of a phase.

    Args:
        levels: from upper to lower.
        factors: those of the levels' merged gradients: 1, gamma_2, gamma_2 gamma_3 ...
        present: for every draw the objectives that have a target in it.
        measure: keep gradients apart wherever levels can.
        plain: objectives outside all levels, whose gradients are added as they are.
    """
    steps = [_level_step(level, factor, present, number, measure) for level, factor in zip(levels, factors, strict=True)]
    passes: list[Pass] = []
    for draw, names in enumerate(present):
        rows: dict[Hashable, dict[str, float]] = {}
        for step in steps:
            for name, (row, factor) in step.targets(draw).items():
                rows.setdefault(row, {})[name] = factor
        for name in plain:
            if name in names:
                rows.setdefault(MERGED, {})[name] = 1.0
        groups = [step.level.state_groups(step.active, step.apart) for step in steps if step.by_states]
        passes.append(Pass(draw, rows, [group for level_groups in groups for group in level_groups]))
    passes = [_completed(passes, number, present) for number in range(len(passes))]
    thirds = [step for step in steps if step.solve and step.level.draws == 3]
    # each pass divides by the number of draws, and the update comes from batch 3 alone
    last = [(Pass(2, {MERGED: dict.fromkeys(step.active, 3 * step.factor)}, complete=[MERGED]), step) for step in thirds]
    return Plan(steps, passes, last, [name for name in plain if any(name in names for names in present)])


def _level_step(level: Level, factor: float, present: Sequence[Collection[str]], number: int, measure: bool) -> LevelStep:
    enough = all if level.draws > 1 else any
    active = [name for name in level.objectives if enough(name in names for names in present)]
    counts = factor != 0 and bool(active)
    solve = counts and level.due(number, active)
    apart = counts and (level.apart and measure if isinstance(level, FeatureLevel) else level.apart and (solve or measure))
    return LevelStep(level, factor, active, solve, apart, {} if solve else level.known(active))


def _completed(passes: Sequence[Pass], number: int, present: Sequence[Collection[str]]) -> Pass:
    """A pass, with the rows that take a gradient in it and in none after it."""
    mine = passes[number]

    def taken(done: Pass) -> set[Hashable]:
        return {row for row, names in done.rows.items() if any(factor and name in present[done.draw] for name, factor in names.items())}

    complete = taken(mine).difference(*map(taken, passes[number + 1 :]))
    return Pass(mine.draw, mine.rows, mine.groups, complete)
