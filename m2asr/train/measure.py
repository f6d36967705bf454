"""What a measured step finds out about the gradients of its objectives: inner products on its own batches, and between independent ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from m2asr.data.batch import Batch
from m2asr.moo.gradients import GradientBuffers
from m2asr.moo.monitor import Conflicts, cross_cosines, merged_norm
from m2asr.objectives.system import System
from m2asr.train.passes import Draw, Outcome, Pass, share_totals
from m2asr.train.seeds import seed_of

if TYPE_CHECKING:
    from m2asr.train.step import Part


@dataclass
class Gradient:
    """A gradient that is compared with others: that of an objective, or a sum of several objectives'.

    terms: its objectives, each with its factor, NaN where only the step will find it; rows: where it lies after the backward passes of a
    step, once or for several batches; unit: what makes a row the gradient itself; batches: the (stream, draw) behind every row.
    """

    terms: dict[str, float]
    rows: list[int]
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
        """Whether it is known for no second batch, but can be computed from halves of its one."""
        divisible = len(self.streams) == 1 and not any(math.isnan(factor) for factor in self.terms.values())
        return divisible and not self.repeated


class Measuring:
    """Compares the gradients of a step, on the same batches and between independent ones, for each layer.

    Two objectives that read the same batch share its noise, and so does an objective with itself: their inner product there is too large
    by the covariance of the noise. Between independent batches it has the right mean. MoDo has two batches in every step. For weightings
    of one batch the utterances of a stream are split into two halves, and both go through the encoder once more, before the step and
    apart from it: the step itself is the same bit for bit, and no gradient needs memory of its own. Since that costs about
    what the stream costs in a step, it is done for one stream, which a hash of the step chooses; where there is only one, in every second
    measured step.

    Args:
        system: the system that is trained.
        streams: what every objective reads.
        buffers: rows that a step fills.
        layers: the columns of each layer.
        seed: of the run.
        dtype: of the forward passes.
    """

    def __init__(
        self,
        system: System,
        streams: Mapping[str, str],
        buffers: GradientBuffers,
        layers: Mapping[str, slice],
        seed: int,
        dtype: torch.dtype,
    ) -> None:
        self.system, self.streams, self.buffers, self.layers = system, streams, buffers, layers
        self.seed, self.dtype = seed, dtype

    def gradients(self, parts: Sequence[Part], draws: int) -> list[Gradient]:
        """The gradients that a step keeps apart, and as the last the sum of the others, which lies in row 0."""
        found = []
        for part in [part for part in parts if part.apart]:
            for name in part.active:
                stream, level = self.streams[name], part.level
                rows = [level.row(name, draw) for draw in range(2 if level.draws == 2 else 1)]
                seen = [{(stream, draw)} for draw in range(len(rows))]
                if level.draws == 1:  # all draws of the stream add up in its row
                    seen = [{(stream, draw) for draw in range(draws)}]
                found.append(Gradient({name: 1.0}, rows, float(level.draws), seen))
        others, scale = summed(parts), factor_of_sum(parts)
        terms = {name: part.factor * part.weights.get(name, math.nan) / scale for part in others for name in part.active}
        if terms:
            seen = {(self.streams[name], draw) for name in terms for draw in range(draws)}
            found.append(Gradient(terms, [0], 1 / scale, [seen]))
        return found

    def halves(self, gradients: Sequence[Gradient], spare: Sequence[int], draw: Draw, number: int) -> Tensor:
        """Cosines (L + 1, R, R) between two halves of the batch of the stream whose turn it is, the last over all layers; else NaN.

        It uses row 0 and the `spare` rows, at least one of them, which must be zeroed afterwards as must the gradients of heads.
        """
        cosines = torch.full((len(self.layers) + 1, len(gradients), len(gradients)), torch.nan, dtype=torch.float64)
        stream = self._turn(gradients, number)
        if stream is None:
            return cosines
        group = self.buffers.group
        first, second = (
            Pass(self.system, self.streams, self.buffers, {stream: half}, (self.seed, number, f"half {place}"), self.dtype)
            for place, half in enumerate(split(draw.get(stream, ()), group.world, group.rank))
        )
        share_totals([first, second], group)
        first.draws = second.draws = dict.fromkeys(self.streams, 1)
        known = {name for name in self.streams if first.total[name] > 0 and second.total[name] > 0}
        read = [place for place, gradient in enumerate(gradients) if gradient.lacks_a_batch and gradient.streams == {stream}]
        members = [place for place in read if gradients[place].terms.keys() <= known]
        kept = members[: len(spare)]
        rows = list(spare[: len(kept)])
        self._fill(first, {row: gradients[place].terms for row, place in zip(rows, kept, strict=True)})
        for place in members:  # one row serves the second half, so that measuring takes no memory
            self._fill(second, {0: gradients[place].terms})
            cosines[:, kept, place] = self._cosines(rows)
        if len(kept) < len(members):  # the last had no row for its first half; its second lies in row 0
            self._fill(first, {rows[0]: gradients[members[-1]].terms})
            cosines[:, members[-1], members[-1]] = self._cosines(rows[:1])[:, 0]
        return torch.stack([cosines, cosines.mT]).nanmean(0)

    def conflicts(self, gradients: Sequence[Gradient], halves: Tensor) -> Conflicts:
        """Inner products per layer in batch 1, and cosines of independent batches, as far as the step or its `halves` know them."""
        rows = [row for gradient in gradients for row in gradient.rows]
        units = torch.tensor([gradient.unit for gradient in gradients for _ in gradient.rows], dtype=torch.float64)
        products = self.buffers.gramians(rows, None, list(self.layers.values())).cpu() * units.outer(units)  # (L, N, N)
        owners = [place for place, gradient in enumerate(gradients) for _ in gradient.rows]
        cross = cross_cosines(products, owners, [seen for gradient in gradients for seen in gradient.batches])
        firsts = torch.tensor([owners.index(place) for place in range(len(gradients))])
        return Conflicts(
            [gradient.name for gradient in gradients],
            dict(zip(self.layers, products[:, firsts[:, None], firsts], strict=True)),
            dict(zip([*self.layers, "all"], torch.where(cross.isnan(), halves, cross), strict=True)),
            [gradient.name for gradient, cosine in zip(gradients, halves[-1].diagonal(), strict=True) if not cosine.isnan()],
        )

    def _turn(self, gradients: Sequence[Gradient], number: int) -> str | None:
        """The stream that is halved in step `number`, if any; the same in all processes and after a resume."""
        streams = sorted(set().union(*(gradient.streams for gradient in gradients if gradient.lacks_a_batch)))
        if len(gradients) < 2 or not streams:
            return None
        turn = seed_of(self.seed, number, "halves") % max(2, len(streams))
        return streams[turn] if turn < len(streams) else None

    def _cosines(self, rows: Sequence[int]) -> Tensor:
        """Cosines (L + 1, len(rows)) between `rows` and row 0, the last over all layers; NaN where a gradient is 0."""
        columns = list(self.layers.values())
        found = self.buffers.gramians([0], [0, *rows], columns)[:, 0].cpu()  # (L, 1 + K)
        squares = torch.stack([self.buffers.gramians([row], None, columns)[:, 0, 0].cpu() for row in rows], 1)  # (L, K)
        products, squares = (torch.cat([values, values.sum(0, keepdim=True)]) for values in (found, squares))
        return products[:, 1:] / (squares * products[:, :1]).sqrt()

    def _fill(self, half: Pass, rows: Mapping[int, Mapping[str, float]]) -> None:
        self.buffers.zero(list(rows))
        half.backward(rows, Outcome(), complete=list(rows))


def split(batches: Sequence[Batch], world: int, rank: int) -> tuple[list[Batch], list[Batch]]:
    """Every second utterance of this process's micro-batches, and the others; with several processes the first go to either half."""
    halves: tuple[list[Batch], list[Batch]] = ([], [])
    for micro, batch in enumerate(batches):
        start = (micro * world + rank) % 2
        for half, offset in zip(halves, (start, 1 - start), strict=True):
            rows = list(range(offset, len(batch), 2))
            if rows:
                half.append(_select(batch, rows))
    return halves


def _select(batch: Batch, rows: list[int]) -> Batch:
    """Some utterances of a batch, without the padding that only others needed."""
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
    )


def summed(parts: Sequence[Part]) -> list[Part]:
    """The parts of a step whose gradients were added up in row 0."""
    return [part for part in parts if part.factor and part.active and not part.apart]


def factor_of_sum(parts: Sequence[Part]) -> float:
    """What the gradients added up in row 0 are multiplied by there, where that is the same for all of them; else 1."""
    factors = {part.factor for part in summed(parts)}
    return factors.pop() if len(factors) == 1 else 1.0


def measure_lengths(conflicts: Conflicts, parts: Sequence[Part]) -> None:
    """Set the length of the first level's merged gradient, and of what the levels below add to it.

    Where the first level's gradients were added up, those of other levels that were added to them count with it.
    """
    first, unit = parts[0], parts[0].factor
    weights = [part.factor * part.weights[name] for part in parts if part.apart for name in part.active]
    upper = [part is first for part in parts if part.apart for _ in part.active]
    if len(weights) < len(conflicts.names):
        weights, upper = [*weights, factor_of_sum(parts)], [*upper, not first.apart]
    scaled, is_upper = torch.tensor(weights, dtype=torch.float64) / unit, torch.tensor(upper)
    conflicts.merged = merged_norm(conflicts.gramian, scaled * is_upper)
    conflicts.pull = merged_norm(conflicts.gramian, scaled * ~is_upper)
