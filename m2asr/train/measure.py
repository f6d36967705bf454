"""Measures the gradients of the objectives in a step: inner products on the batches of the step, and between independent batches."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from m2asr.data.batch import Batch
from m2asr.moo.gramian import Products, all_pairs
from m2asr.moo.monitor import Conflicts, cross_cosines, merged_norm
from m2asr.moo.plan import MERGED, LevelStep, Pass, Plan
from m2asr.seeds import seed_of
from m2asr.train.passes import Draw, Passes
from m2asr.train.tally import Tally

SECOND = "second half"  # the row of gradients on the second half of a batch


@dataclass
class Gradient:
    """A gradient that is compared with others: that of an objective, or a sum of several objectives'.

    terms: its objectives, each with its factor, NaN where the step computes it later; rows: those that hold it after the backward passes of
    a step, for one batch or several; unit: the factor that turns a row into the gradient; batches: the (stream, draw) behind every row.
    """

    terms: dict[str, float]
    rows: list[Hashable]
    unit: float
    batches: list[set[tuple[str, int]]]

    @property
    def name(self) -> str:
        return "+".join(self.terms)

    @property
    def streams(self) -> set[str]:
        return {stream for batches in self.batches for stream, _ in batches}

    @property
    def repeated(self) -> bool:
        """Whether it is known for two independent batches."""
        return any(not first & second for first in self.batches for second in self.batches)

    @property
    def lacks_a_batch(self) -> bool:
        """Whether it is known for a single batch, of which halves can be computed."""
        divisible = len(self.streams) == 1 and not any(math.isnan(factor) for factor in self.terms.values())
        return divisible and not self.repeated


@dataclass
class Comparison:
    """The gradients that a step compares, and the cosines (L + 1, R, R) of those that were computed on two halves of a batch, else NaN."""

    gradients: list[Gradient]
    halves: Tensor


class Measuring:
    """Compares the gradients of a step, on the same batches and between independent ones, for each layer.

    Two objectives that read the same batch share its noise, and so does an objective with itself: their inner product there is too large
    by the covariance of the noise. Between independent batches it has the right mean. MoDo has two batches in every step. For weightings
    of one batch the utterances of a stream are split into two halves, and both go through the encoder once more, before the step and
    apart from it: the step itself is the same bit for bit, and its gradients take no more memory. Since that costs about
    what the stream costs in a step, it is done for a single stream, which a hash of the step chooses; where a run has a single stream, in
    every second measured step.

    Args:
        passes: of the step.
        layers: the columns of each layer.
    """

    def __init__(self, passes: Passes, layers: Mapping[str, slice]) -> None:
        self.passes, self.rows, self.layers = passes, passes.rows, layers

    def before(self, plan: Plan, draws: Sequence[Draw], number: int) -> Comparison | None:
        """What step `number` will compare, with what must be computed before it; None where it keeps no gradients apart."""
        if not plan.levels[0].active or not any(step.apart for step in plan.levels):
            return None
        gradients = self._gradients(plan, len(draws))
        return Comparison(gradients, self._halves(gradients, draws[0], number))

    def conflicts(self, comparison: Comparison) -> Conflicts:
        """Inner products per layer in batch 1, and cosines of independent batches, as far as the rows of the step or halves know them."""
        gradients, halves = comparison.gradients, comparison.halves
        names = [row for gradient in gradients for row in gradient.rows]
        units = torch.tensor([gradient.unit for gradient in gradients for _ in gradient.rows], dtype=torch.float64)
        products = self._gramians(names) * units.outer(units)  # (L, N, N)
        owners = [number for number, gradient in enumerate(gradients) for _ in gradient.rows]
        cross = cross_cosines(products, owners, [batches for gradient in gradients for batches in gradient.batches])
        firsts = torch.tensor([owners.index(number) for number in range(len(gradients))])
        return Conflicts(
            [gradient.name for gradient in gradients],
            dict(zip(self.layers, products[:, firsts[:, None], firsts], strict=True)),
            dict(zip([*self.layers, "all"], torch.where(cross.isnan(), halves, cross), strict=True)),
            [gradient.name for gradient, cosine in zip(gradients, halves[-1].diagonal(), strict=True) if not cosine.isnan()],
        )

    def _gradients(self, plan: Plan, draws: int) -> list[Gradient]:
        """The gradients that a step keeps apart, and as the last the sum of the others, which lies in the merged row."""
        streams, gradients = self.passes.streams, []
        for step in [step for step in plan.levels if step.apart]:
            for name in step.active:
                rows = list(dict.fromkeys(step.level.row(name, draw) for draw in range(step.level.draws if step.level.draws < 3 else 1)))
                batches = [{(streams[name], draw)} for draw in range(len(rows))]
                if step.level.draws == 1:  # all draws of the stream add up in its row
                    batches = [{(streams[name], draw) for draw in range(draws)}]
                gradients.append(Gradient({name: 1.0}, rows, float(step.level.draws), batches))
        added, scale = summed(plan), factor_of_sum(plan)
        terms = {name: step.factor * step.weights.get(name, math.nan) / scale for step in added for name in step.active}
        terms |= {name: 1 / scale for name in plan.plain if self.passes.system.reaches(name, self.passes.theta)}
        if terms:
            batches = {(streams[name], draw) for name in terms for draw in range(draws)}
            gradients.append(Gradient(terms, [MERGED], 1 / scale, [batches]))
        return gradients

    def _halves(self, gradients: Sequence[Gradient], draw: Draw, number: int) -> Tensor:
        """Cosines (L + 1, R, R) between two halves of the batch of the stream whose turn it is, the last over all layers; else NaN."""
        cosines = torch.full((len(self.layers) + 1, len(gradients), len(gradients)), torch.nan, dtype=torch.float64)
        stream = _turn(gradients, number)
        if stream is None:
            return cosines
        group, names = self.rows.group, [name for name, read in self.passes.streams.items() if read == stream]
        halves = split(draw.get(stream, ()), group.world, group.rank)
        draws = [{stream: [self.passes.system.prepare(batch, names) for batch in half]} for half in halves]
        totals = self.passes.totals(draws)
        computed = {name for name in names if all(total[name] > 0 for total in totals)}
        members = [
            number
            for number, gradient in enumerate(gradients)
            if gradient.lacks_a_batch and gradient.streams == {stream} and gradient.terms.keys() <= computed
        ]
        rows = {number: ("half", gradients[number].name) for number in members}
        self._fill(draws[0], totals[0], {row: gradients[number].terms for number, row in rows.items()})
        for number in members:  # one row serves the second half
            self.rows.drop([SECOND])
            self._fill(draws[1], totals[1], {SECOND: gradients[number].terms})
            cosines[:, members, number] = self._cosines(list(rows.values()))
        self.rows.drop([SECOND, *rows.values()])
        self.passes.system.zero_grad(set_to_none=True)  # of heads
        return torch.stack([cosines, cosines.mT]).nanmean(0)

    def _fill(self, draw: Draw, total: Mapping[str, float], rows: Mapping[Hashable, Mapping[str, float]]) -> None:
        names = {name for terms in rows.values() for name in terms}
        tally = Tally({name: self.passes.system.objectives[name] for name in names}, self.rows.group)
        self.passes.run(Pass(0, rows, complete=list(rows)), draw, {name: total[name] for name in names}, tally)

    def _cosines(self, rows: Sequence[Hashable]) -> Tensor:
        """Cosines (L + 1, len(rows)) between rows and the second half, the last over all layers; NaN where a gradient is 0."""
        products = self._gramians([SECOND, *rows])
        products = torch.cat([products, products.sum(0, keepdim=True)])
        squares = products.diagonal(dim1=1, dim2=2)  # (L + 1, 1 + K)
        return products[:, 0, 1:] / (squares[:, 1:] * squares[:, :1]).sqrt()

    def _gramians(self, rows: Sequence[Hashable]) -> Tensor:
        """Inner products (L, N, N) of rows within each layer."""
        pairs = all_pairs(rows)
        values = self.rows.inner_products(pairs, list(self.layers.values())).cpu()
        return Products(pairs, self.rows.group.all_reduce(values)).matrix(rows)


def _turn(gradients: Sequence[Gradient], number: int) -> str | None:
    """The stream that is halved in step `number`, if any; the same in all processes and after a resume."""
    streams = sorted(set().union(*(gradient.streams for gradient in gradients if gradient.lacks_a_batch)))
    if len(gradients) < 2 or not streams:
        return None
    turn = seed_of(number, "halves") % max(2, len(streams))
    return streams[turn] if turn < len(streams) else None


def split(batches: Sequence[Batch], world: int, rank: int) -> tuple[list[Batch], list[Batch]]:
    """Every second utterance of this process's micro-batches, and the others; with several processes the first go to either half."""
    halves: tuple[list[Batch], list[Batch]] = ([], [])
    for micro, batch in enumerate(batches):
        start = (micro * world + rank) % 2
        for half, offset in zip((0, 1), (start, 1 - start), strict=True):
            rows = list(range(offset, len(batch), 2))
            if rows:
                halves[half].append(replace(_select(batch, rows), key=(*batch.key, "half", half)))
    return halves


def _select(batch: Batch, rows: list[int]) -> Batch:
    """Some utterances of a batch, without the padding that only others needed, for which nothing is drawn yet."""
    lengths = {kind: length[rows] for kind, length in batch.lengths.items()}
    return replace(
        batch,
        inputs={kind: values[rows, : int(lengths[kind].max())] for kind, values in batch.inputs.items()},
        lengths=lengths,
        targets={key: values[rows] for key, values in batch.targets.items()},
        target_lengths={key: values[rows] for key, values in batch.target_lengths.items()},
        lang=[batch.lang[row] for row in rows],
        speakers=[batch.speakers[row] for row in rows],
        utt_ids=[batch.utt_ids[row] for row in rows],
        drawn={},
        shares={},
    )


def summed(plan: Plan) -> list[LevelStep]:
    """The levels of a step whose gradients were added up in the merged row."""
    return [step for step in plan.levels if step.factor and step.active and not step.apart]


def factor_of_sum(plan: Plan) -> float:
    """The factor of the gradients that are added up in the merged row, where all of them have the same; else 1."""
    factors = {step.factor for step in summed(plan)}
    return factors.pop() if len(factors) == 1 else 1.0


def measure_lengths(conflicts: Conflicts, plan: Plan) -> None:
    """Set the length of the first level's merged gradient, and of what the levels below add to it.

    Where the first level's gradients were added up, those of other levels that were added to them count with it.
    """
    first, unit = plan.levels[0], plan.levels[0].factor
    weights = [step.factor * step.weights[name] for step in plan.levels if step.apart for name in step.active]
    upper = [step is first for step in plan.levels if step.apart for _ in step.active]
    if len(weights) < len(conflicts.names):
        weights, upper = [*weights, factor_of_sum(plan)], [*upper, not first.apart]
    scaled, is_upper = torch.tensor(weights, dtype=torch.float64) / unit, torch.tensor(upper)
    conflicts.merged = merged_norm(conflicts.gramian, scaled * is_upper)
    conflicts.pull = merged_norm(conflicts.gramian, scaled * ~is_upper)
