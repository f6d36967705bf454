"""One multi-objective step: gradients on theta merged within and between levels, and plain gradients for everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from m2asr.moo.collectives import Collectives
from m2asr.moo.gramian import Products
from m2asr.moo.layers import layers_of
from m2asr.moo.level import Level
from m2asr.moo.plan import MERGED, LevelStep, Pass, plan_step
from m2asr.moo.rows import ALL, GradientRows
from m2asr.objectives.system import System
from m2asr.train.measure import Measuring, measure_lengths
from m2asr.train.outcome import Outcome, not_finite
from m2asr.train.passes import Draw, Passes
from m2asr.train.tally import Tally


class JointStep:
    """Computes the gradients of one step: theta gets lambda_1 G_1 + gamma_2 (lambda_2 G_2 + gamma_3 (...)) over levels that nest.

    Two levels, recognition and translation above CPC, are M2ASR (Saif et al. 2024); a single one is multi-task learning. Weightings that
    look at gradients get one backward per objective over theta, or one per group of objectives that read the same states (`FeatureLevel`).
    Known weights and the levels' factors multiply gradients where they enter theta: one backward per batch serves theta and heads. What
    no active objective trains has no gradient, so that an optimizer leaves it as it is. Several processes sum gradients before weighting.

    Args:
        system: what is trained.
        streams: the stream that every objective reads.
        levels: from upper to lower.
        regular: objectives outside all levels, and the factors of their losses.
        over: the modules whose gradient is merged.
        dtype: of the forward passes.
        group: the processes that train together.
    """

    def __init__(
        self,
        system: System,
        streams: Mapping[str, str],
        levels: Sequence[Level],
        dtype: torch.dtype,
        regular: Mapping[str, float] | None = None,
        over: Sequence[str] = ("encoder",),
        group: Collectives | None = None,
    ) -> None:
        self.system, self.levels, self.group = system, list(levels), group or Collectives()
        self.regular = dict(regular or {})
        names = [name for level in levels for name in level.objectives] + list(self.regular)
        self.streams = {name: streams[name] for name in names}
        self.theta = system.theta(over)
        outside = [system.get_submodule(name) for name in system.module_names if name not in self.theta]
        outside += [system.objectives[name] for name in names]
        spread = system.spread_parameters  # whose gradients are complete where they arise
        self.heads = list(dict.fromkeys(param for module in outside for param in module.parameters() if param not in spread))
        params = [param for module in self.theta.values() for param in module.parameters() if param not in spread]
        self.rows = GradientRows(params, self.group)
        layers = {name: [param for param in layer if param not in spread] for name, layer in layers_of(self.theta).items()}
        self.layers = {name: self.rows.layout.columns_of(layer) for name, layer in layers.items() if layer}
        self.passes = Passes(system, self.streams, self.rows, self.theta, self.regular, dtype)
        self.measuring = Measuring(self.passes, self.layers)

    def __call__(self, draws: Sequence[Draw], number: int, factors: Sequence[float], measure: bool = False) -> Outcome:
        """Forward and backward of step `number` of a phase; batches that no loader has prepared are prepared here.

        `factors` are those of the levels' merged gradients: 1, gamma_2, gamma_2 gamma_3 ... `measure` adds the lengths and angles of
        gradients, where those of some level are kept apart.
        """
        self.system.zero_grad(set_to_none=True)
        tally, within = Tally({name: self.system.objectives[name] for name in self.streams}, self.group), {}
        for name, stream in self.streams.items():
            for batch in (batch for draw in draws for batch in draw.get(stream, ())):
                if name not in batch.shares:
                    self.system.prepare(batch, [name])
                tally.count(name, batch.shares[name].metrics)
        totals = self.passes.totals(draws)
        present = [{name for name, weight in total.items() if weight > 0} for total in totals]
        plan = plan_step(self.levels, factors, present, number, measure, self.regular)
        self.rows.keep([row for level in self.levels for row in level.lasting])
        comparison = self.measuring.before(plan, draws, number) if measure else None

        for todo in plan.passes:
            within |= self._run(todo, draws, totals, tally)
        products = Products(plan.pairs, tally.read(self.rows.inner_products(plan.pairs, self._columns(plan.split))))
        outcome = Outcome(tally.losses(), problem=tally.problem or not_finite(plan, products, within))
        if outcome.problem is None:
            for step in plan.levels:
                if not step.apart:
                    self._merge(step, products, outcome, within)
            if comparison is not None:  # the merged row holds what is added up, and nothing yet of what lies apart
                outcome.conflicts = self.measuring.conflicts(comparison)
            for step in plan.levels:
                if step.apart:
                    self._merge(step, products, outcome, within)
            for todo, step in plan.last:
                scaled = {row: {name: factor * step.weights[name] for name, factor in names.items()} for row, names in todo.rows.items()}
                self._run(Pass(todo.draw, scaled, complete=todo.complete), draws, totals, tally)
                tally.read(self.rows.inner_products([]))
            outcome.problem = tally.problem
            if outcome.conflicts is not None:
                measure_lengths(outcome.conflicts, plan)
        self.rows.gather(MERGED)
        self.group.sum_gradients(self.heads)
        self.group.wait()
        if any(step.active and step.factor for step in plan.levels) or any(self.system.reaches(name, self.theta) for name in plan.plain):
            self.rows.assign(MERGED)
        return outcome.filled(plan, tally)

    def applied(self, outcome: Outcome) -> None:
        """Tell the weightings the losses of a step whose gradients were applied, and the modules that it trained that there was one."""
        losses = outcome.mean_losses()
        self.system.after_step(losses)
        for name in self.streams:
            self.system.objectives[name].after_step()
        for level in self.levels:
            if active := {name: losses[name] for name in level.objectives if name not in outcome.inactive}:
                level.weighting.after_step(active)

    def _columns(self, split: bool) -> list[slice]:
        """The columns of each layer, or all columns in one slice."""
        return list(self.layers.values()) if split else [ALL]

    def _run(self, todo: Pass, draws: Sequence[Draw], totals: Sequence[Mapping[str, float]], tally: Tally) -> dict[str, float]:
        """Run a pass; the loss of an objective is the mean over the draws that hold it."""
        total = totals[todo.draw]
        divisors = {name: weight * sum(weights[name] > 0 for weights in totals) for name, weight in total.items() if weight > 0}
        return self.passes.run(todo, draws[todo.draw], divisors, tally)

    def _merge(self, step: LevelStep, products: Products, outcome: Outcome, within: Mapping[str, float]) -> None:
        """Compute the weights of a level where they are due, and add the gradients that it keeps apart to the merged row."""
        level, columns, sums = step.level, self._columns(step.solve and step.level.split), []
        if step.solve:
            if pairs := level.track(self.rows, step.active):
                products = Products(pairs, self.group.all_reduce(self.rows.inner_products(pairs, columns).cpu()))
            solution = level.solve(products if level.split else products.summed(), step.active, outcome.mean_losses(), within)
            step.weights, sums = solution.weights, solution.sums
        elif step.apart:
            sums = [level.terms(step.weights, step.active)]
        for terms, group in zip(sums, columns, strict=False):
            self.rows.merge({row: step.factor * weight for row, weight in terms.items()}, MERGED, group)
        if step.by_states and step.apart and outcome.conflicts is not None:
            deviation = level.deviation(step.weights, step.active, outcome.conflicts.among(step.active))
            outcome.conflicts.deviation = max(deviation, outcome.conflicts.deviation or 0.0)
