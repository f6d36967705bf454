"""Forward and backward over the batches of one draw: every view is encoded once, however many objectives read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from m2asr.data.batch import Batch
from m2asr.models.encoded import Encoded
from m2asr.moo.gradients import GradientBuffers, scale_gradient
from m2asr.moo.monitor import Conflicts
from m2asr.objectives.objective import Loss
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.train.precision import autocast
from m2asr.train.seeds import seed_of
from m2asr.train.states import Backward, StateGradients

Draw = Mapping[str, Sequence[Batch]]  # stream -> micro-batches


@dataclass
class Outcome:
    """What a step computed; its gradients lie in every parameter's `.grad`."""

    losses: dict[str, tuple[float, float]] = field(default_factory=dict)  # objective -> sum, weight
    metrics: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)  # lambda within every level of several objectives
    gamma: dict[str, float] = field(default_factory=dict)  # of every level below the first, by the names of its objectives
    conflicts: Conflicts | None = None
    inactive: list[str] = field(default_factory=list)  # objectives without a target in this step
    frames: float | Tensor = 0.0  # through the encoder, without padding
    problem: str | None = None  # a loss or gradient is not finite: the step must not be applied

    def mean_losses(self) -> dict[str, float]:
        """Mean losses of the objectives that were computed."""
        return {name: total / weight for name, (total, weight) in self.losses.items() if weight}

    def record(self, name: str, loss: Loss) -> None:
        """Take in the loss and metrics of one batch."""
        metrics = self.metrics.setdefault(name, {})
        before = self.losses.get(name, (0.0, 0.0))
        self.losses[name] = (before[0] + loss.sum.item(), before[1] + loss.weight)
        for metric, (total, weight) in loss.metrics.items():
            before = metrics.get(metric, (0.0, 0.0))
            metrics[metric] = (before[0] + float(total), before[1] + float(weight))


class Pass:
    """One draw of a step. `total` is the weight of every objective in it, `draws` the number of draws that hold an objective."""

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

    def backward(self, rows: Mapping[int, Mapping[str, float]], outcome: Outcome, cuts: Sequence[StateGradients] = ()) -> None:
        """One backward per batch and row: the objectives' gradients enter the backbone multiplied by their factors, into their row.

        Heads get their own plain gradient. `rows` maps rows of the buffers to objectives and their factors; further objectives are those of
        `cuts`, which end at the states that they read and go on from there together.
        """
        factors = {name: factor for group in rows.values() for name, factor in group.items()}
        cut_by = {name: cut for cut in cuts for name in cut.names}
        factors |= dict.fromkeys(cut_by, 1.0)
        for names, batch, key in self._batches(factors):
            with autocast(self.device, self.dtype):
                encoded = self._encode(names, batch, key, factors, outcome)
                read = {name: cut_by[name].cut(name, encoded) if name in cut_by else encoded for name in names}
                losses = {name: self._loss(name, read[name], factors[name], batch, key, outcome) for name in names}
            groups = [(row, [losses[name] for name in names if name in group]) for row, group in rows.items()]
            backwards: list[Backward] = [(row, [torch.stack(group).sum()], None) for row, group in groups if group]
            backwards += [one for cut in cuts for one in cut.backwards(encoded, losses)]
            for place, (row, tensors, given) in enumerate(backwards, 1):
                with self.buffers.accumulate_into(row):
                    torch.autograd.backward(tensors, given, retain_graph=place < len(backwards))

    def _batches(self, wanted: Iterable[str]) -> Iterator[tuple[list[str], Batch, tuple]]:
        for stream, batches in self.draw.items():
            names = [name for name in wanted if self.streams[name] == stream and self.total[name] > 0]
            for micro, batch in enumerate(batches if names else ()):
                yield names, batch, (*self.key, stream, micro)

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
        return loss.sum / (self.total[name] * self.draws[name])


def _scaled(encoded: Mapping[View, Encoded], factor: float) -> Mapping[View, Encoded]:
    """The same states, through which gradients flow back multiplied by `factor`; 0 stops them."""
    if factor == 1:
        return encoded
    scaled = {}
    for view, one in encoded.items():
        states = {tap: scale_gradient(state, factor) if state.requires_grad else state for tap, state in one.states.items()}
        scaled[view] = replace(one, states=states if factor else {tap: state.detach() for tap, state in states.items()})
    return scaled
