"""Forward and backward over the batches of one draw: every view is encoded once, however many objectives read it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from m2asr.data.batch import Batch
from m2asr.models.encoded import Encoded
from m2asr.moo.collectives import Collectives
from m2asr.moo.gradients import GradientBuffers, scale_gradient
from m2asr.moo.monitor import Conflicts
from m2asr.objectives.objective import Loss
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.train.precision import ShortWeights, autocast
from m2asr.train.seeds import seed_of
from m2asr.train.states import Backward, StateGradients, cut_off, through_head

Draw = Mapping[str, Sequence[Batch]]  # stream -> micro-batches


@dataclass
class Outcome:
    """What a step computed; its gradients lie in the `.grad` of every parameter that it trains."""

    losses: dict[str, tuple[float, float]] = field(default_factory=dict)  # objective -> sum, weight
    metrics: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)  # lambda within every level of several objectives
    vertex: dict[str, bool] = field(default_factory=dict)  # of every level that computes weights: one objective had nearly all
    gamma: dict[str, float] = field(default_factory=dict)  # of every level below the first, by the names of its objectives
    conflicts: Conflicts | None = None
    inactive: list[str] = field(default_factory=list)  # objectives without a target in this step
    idle: bool = False  # no objective has a target, so there is no gradient at all
    frames: float | Tensor = 0.0  # through the encoder, without padding
    problem: str | None = None  # a loss or gradient is not finite: the step must not be applied

    def mean_losses(self) -> dict[str, float]:
        """Mean losses of the objectives that were computed."""
        return {name: total / weight for name, (total, weight) in self.losses.items() if weight}

    def add(self, seen: Outcome, group: Collectives) -> None:
        """Take in what a backward pass saw, on all processes; a problem is that of the first process that has one."""
        for losses, metrics, frames, problem in group.exchange((seen.losses, seen.metrics, float(seen.frames), seen.problem)):
            _add_pairs(self.losses, losses)
            for name, found in metrics.items():
                _add_pairs(self.metrics.setdefault(name, {}), found)
            self.frames += frames
            self.problem = self.problem or problem

    def record(self, name: str, loss: Loss) -> None:
        """Take in the loss and metrics of one batch."""
        _add_pairs(self.losses, {name: (loss.sum.item(), loss.weight)})
        found = {metric: (float(total), float(weight)) for metric, (total, weight) in loss.metrics.items()}
        _add_pairs(self.metrics.setdefault(name, {}), found)


class Pass:
    """One draw of a step, of which every process has its batches.

    `total` is the weight of every objective in this process's batches until `share_totals` has summed it, `draws` the number of draws that
    hold an objective.
    """

    def __init__(
        self, system: System, streams: Mapping[str, str], buffers: GradientBuffers, draw: Draw, key: tuple, dtype: torch.dtype
    ) -> None:
        self.system, self.streams, self.buffers, self.draw, self.key, self.dtype = system, streams, buffers, draw, key, dtype
        self.device = next(system.parameters()).device
        self.draws: dict[str, int] = {}
        self.total = dict.fromkeys(streams, 0.0)
        for name, stream in streams.items():
            for batch in draw.get(stream, ()):
                lengths = system.encoder.output_lengths(batch.lengths["feats"])
                self.total[name] += system.objectives[name].weight(batch, lengths)

    def backward(
        self, rows: Mapping[int, Mapping[str, float]], outcome: Outcome, complete: Container[int], cuts: Sequence[StateGradients] = ()
    ) -> None:
        """One backward per batch and row: the objectives' gradients enter the backbone multiplied by their factors, into their row.

        Heads get their own plain gradient. `rows` maps rows of the buffers to objectives and their factors; further objectives are those of
        `cuts`, which end at the states that they read and go on from there together. The rows of cuts, and those that are `complete` after
        this pass, are summed over processes, each as soon as its last backward is done.
        """
        weights = ShortWeights(self.system.encoder, self.dtype)
        order = list(dict.fromkeys(self.streams.values()))
        ends = {row: max(map(order.index, self.streams_into(group)), default=-1) for row, group in rows.items() if row in complete}
        asked = {name for group in rows.values() for name in group} | {name for cut in cuts for name in cut.names}
        for number, stream in enumerate(order):
            names = [name for name in self.streams if name in asked and self.streams[name] == stream and self.total[name] > 0]
            batches = self.draw.get(stream, ()) if names else ()
            # all processes sum the same rows in the same order, also where one has no batch and nothing but zeros
            due = [row for row, end in ends.items() if end == number] + [row for cut in cuts for row in cut.rows(names)]
            for micro, batch in enumerate(batches):
                # the micro-batches of all processes have numbers of their own, as if one process had them all
                key = (*self.key, stream, micro * self.buffers.group.world + self.buffers.group.rank)
                with weights.used():
                    backwards = self._forward(names, rows, cuts, batch, key, outcome)
                while backwards:
                    row, tensors, gradients = backwards.pop(0)
                    with self.buffers.accumulate_into(row, weights.copies):
                        torch.autograd.backward(tensors, gradients, retain_graph=bool(backwards))
                    del tensors, gradients
                    while row in due and micro == len(batches) - 1:
                        self.buffers.reduce(due.pop(0))
            for cut in cuts if not batches else ():
                cut.without_batch(names)
            for row in due:
                self.buffers.reduce(row)

    def _forward(
        self,
        names: Sequence[str],
        rows: Mapping[int, Mapping[str, float]],
        cuts: Sequence[StateGradients],
        batch: Batch,
        key: tuple,
        outcome: Outcome,
    ) -> list[Backward]:
        """The losses of one batch, and what is to go backward through the backbone.

        Where those are several, the passes through the heads are done here, so that the heads' activations are free by then.
        """
        groups = {row: {name: group[name] for name in names if name in group} for row, group in rows.items()}
        groups = {row: group for row, group in groups.items() if group}
        cut_by = {name: cut for cut in cuts for name in cut.names if name in names}
        factors = dict.fromkeys(cut_by, 1.0) | {name: factor for group in groups.values() for name, factor in group.items()}
        several = len(groups) > 1 or bool(cut_by)
        with autocast(self.device, self.dtype):
            encoded = self._encode(names, batch, key, factors, outcome)
            copies = {row: cut_off(encoded) if several else encoded for row in groups}
            read = {name: cut.cut(name, encoded) for name, cut in cut_by.items()}
            read |= {name: copies[row] for row, group in groups.items() for name in group}
            losses = {name: self._loss(name, read[name], factors[name], batch, key, outcome) for name in names}
        backwards: list[Backward] = []
        for row, group in groups.items():
            loss = torch.stack([losses[name] for name in group]).sum()
            backwards.append(through_head(row, loss, copies[row], encoded) if several else (row, [loss], None))
        backwards += [one for cut in cuts for one in cut.backwards(encoded, losses)]
        return [one for one in backwards if one[1]]  # without those that no gradient enters

    def streams_into(self, group: Mapping[str, float]) -> set[str]:
        """The streams, on any process, from which a gradient enters the row of these objectives and factors."""
        return {self.streams[name] for name, factor in group.items() if factor != 0 and self.total[name] > 0}

    def _encode(
        self, names: Sequence[str], batch: Batch, key: tuple, factors: Mapping[str, float], outcome: Outcome
    ) -> dict[View, Encoded]:
        needed: dict[View, bool] = {}  # whether a gradient flows back through the view
        for name in names:
            for view in self.system.objectives[name].views:
                needed[view] = needed.get(view, False) or factors[name] != 0
        outcome.frames += sum(view.frames(batch.lengths["feats"]) for view in needed)
        return {view: self.system.encode(batch, replace(view, grad=view.grad and grad), seed_of(*key)) for view, grad in needed.items()}

    def _loss(self, name: str, encoded: Mapping[View, Encoded], factor: float, batch: Batch, key: tuple, outcome: Outcome) -> Tensor:
        torch.manual_seed(seed_of(*key, name))
        loss = self.system.objectives[name](_scaled(encoded, factor), batch)
        outcome.record(name, loss)
        if outcome.problem is None and not loss.sum.isfinite():
            outcome.problem = f"the loss of {name} is {loss.sum.item()}; utterances: {' '.join(batch.utt_ids)}"
        return loss.sum / (self.total[name] * self.draws[name])


def share_totals(passes: Sequence[Pass], group: Collectives) -> None:
    """Sum the weights of objectives over processes, so that all of them divide by the same and go through the same backward passes."""
    found = group.exchange([one.total for one in passes])
    for place, one in enumerate(passes):
        one.total = {name: sum(totals[place][name] for totals in found) for name in one.total}


def _add_pairs(sums: dict[str, tuple[float, float]], more: Mapping[str, tuple[float, float]]) -> None:
    for name, (total, weight) in more.items():
        before = sums.get(name, (0.0, 0.0))
        sums[name] = (before[0] + total, before[1] + weight)


def _scaled(encoded: Mapping[View, Encoded], factor: float) -> Mapping[View, Encoded]:
    """The same states, through which gradients flow back multiplied by `factor`; 0 stops them."""
    if factor == 1:
        return encoded
    scaled = {}
    for view, one in encoded.items():
        states = {tap: scale_gradient(state, factor) if state.requires_grad else state for tap, state in one.states.items()}
        scaled[view] = replace(one, states=states if factor else {tap: state.detach() for tap, state in states.items()})
    return scaled
