"""Forward and backward over the batches of one draw: every view is encoded once, however many objectives read it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from m2asr.data.batch import Batch
from m2asr.models.encoded import Encoded
from m2asr.moo.feature_level import StateGroup
from m2asr.moo.plan import MERGED, Pass
from m2asr.moo.rows import GradientRows
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.seeds import seed_torch
from m2asr.train.expert_parallel import as_many_batches, through_all_layers
from m2asr.train.gate import crossing, gate, gradients_at
from m2asr.train.precision import ShortWeights, autocast
from m2asr.train.states import StateGradients, weigh_states, weighted
from m2asr.train.tally import Tally

Draw = Mapping[str, Sequence[Batch]]  # stream -> prepared micro-batches
Backward = tuple[Hashable, list[Tensor], list[Tensor] | None]  # a row, tensors, and their gradients (None: scalars)


class Passes:
    """Runs the passes of a step: forward and backward over its batches.

    The gradient of every objective on theta is multiplied by its factor and goes into its row; heads, and modules outside theta, get their
    own plain gradient.

    Args:
        system: what is trained.
        streams: the stream that every objective reads.
        rows: those that take theta's gradients.
        theta: the modules whose gradient is merged.
        weights: the factors of the losses of regular objectives.
        dtype: of the forward passes.
    """

    def __init__(
        self,
        system: System,
        streams: Mapping[str, str],
        rows: GradientRows,
        theta: Mapping[str, nn.Module],
        weights: Mapping[str, float],
        dtype: torch.dtype,
    ) -> None:
        self.system, self.streams, self.rows, self.theta = system, streams, rows, theta
        self.weights, self.dtype, self.device = weights, dtype, next(system.parameters()).device
        self.spread = system.spread_parameters

    def totals(self, draws: Sequence[Draw]) -> list[dict[str, float]]:
        """The weight of every objective in the batches of each draw, summed over processes."""
        streams = self.streams.items()
        sums = [[sum(batch.shares[name].weight for batch in draw.get(stream, ())) for name, stream in streams] for draw in draws]
        total = self.rows.group.all_reduce(torch.tensor(sums, dtype=torch.float64))
        return [dict(zip(self.streams, row, strict=True)) for row in total.tolist()]

    def run(self, todo: Pass, draw: Draw, divisors: Mapping[str, float], tally: Tally) -> dict[str, float]:
        """One forward per batch, and one backward per batch and row; returns the weights that were computed at states.

        `divisors` has the divisor of the loss sum of every objective that has a target. Rows that take nothing after this pass are
        summed over processes, in the same order in all of them, each as soon as its last backward and those of the rows before it are done.
        """
        copies = ShortWeights(nn.ModuleList(self.theta.values()), self.dtype, self.spread)
        streams = list(dict.fromkeys(self.streams.values()))
        asked = {name for factors in todo.rows.values() for name in factors} | {name for group in todo.groups for name in group.objectives}
        within: dict[str, float] = {}
        for stream in streams:
            names = [name for name, read in self.streams.items() if read == stream and name in asked and name in divisors]
            batches = draw.get(stream, ()) if names else ()
            if self.spread and names:
                batches = as_many_batches(batches, self.system, names, self.rows.group)
            due = [row for row in self._ending(todo, streams, stream, divisors) if row in todo.complete]
            due += [row for group in todo.groups if set(group.objectives) & set(names) for row in (group.row, *group.exact.values())]
            for number, batch in enumerate(batches):
                with copies.in_place():
                    backwards = self._forward(todo, names, batch.to(self.device), divisors, tally, within, copies.copies)
                while backwards:
                    row, tensors, gradients = backwards.pop(0)
                    with self.rows.accumulate_into(row, copies.copies):
                        torch.autograd.backward(tensors, gradients, retain_graph=bool(backwards))
                    del tensors, gradients
                    while number == len(batches) - 1 and due and due[0] not in {later for later, _, _ in backwards}:
                        self.rows.reduce(due.pop(0))
            for group, members in _members(todo, names) if not batches else ():  # found together with the processes that have a batch
                within |= weigh_states(group, members, {}, self.rows.group, self.device)
            for row in due:
                self.rows.reduce(row)
        return within

    def _forward(
        self,
        todo: Pass,
        names: Sequence[str],
        batch: Batch,
        divisors: Mapping[str, float],
        tally: Tally,
        within: dict[str, float],
        copies: Mapping[Parameter, Tensor],
    ) -> list[Backward]:
        """Compute the losses of one batch; returns the backward passes that are to go through theta.

        Where there are several rows, the passes through the heads are done here, so that the heads' activations are free by then; `copies`
        are those of theta's weights that are in place.
        """
        present = [name for name in names if name in batch.shares and batch.shares[name].weight > 0]
        rows = {row: {name: factor for name, factor in factors.items() if name in present} for row, factors in todo.rows.items()}
        rows = {row: factors for row, factors in rows.items() if factors}
        grouped = _members(todo, names)
        factors = {name: factor for factors in todo.rows.values() for name, factor in factors.items()}
        cut = len(rows) > 1 or bool(grouped)
        backwards: list[Backward] = []
        with autocast(self.device, self.dtype):
            encoded = self._encode(names if self.spread else present, factors, batch, tally)
            of_theta = {tap for read in encoded.values() for tap in read.states if self.system.source(tap) in self.theta}

            def loss_of(name: str, read: Mapping[View, Encoded], factor: float) -> Tensor:
                seed_torch(*batch.key, name)
                with crossing([self.theta[module] for module in self.system.objectives[name].runs if module in self.theta], factor):
                    loss = self.system.objectives[name](read, batch.shares[name])
                tally.add(name, batch, loss)
                return loss.sum * (self.weights.get(name, 1.0) / divisors[name])

            for row, objectives in rows.items():
                read = gate(encoded, cut=cut)
                losses = [loss_of(name, gate(read, factor, taps=of_theta), factor) for name, factor in objectives.items()]
                loss = torch.stack(losses).sum()
                if not loss.requires_grad:  # a factor of 0, and no head
                    continue
                backwards += self._through_heads(row, loss, read, encoded, objectives, copies) if cut else [(row, [loss], None)]
            for group, members in grouped:
                reads = {name: gate(encoded, cut=True) for name in members if name in present}
                for name, read in reads.items():
                    loss_of(name, read, 1.0).backward()
                gradients = {name: gradients_at(read) for name, read in reads.items()}
                within |= weigh_states(group, members, gradients, self.rows.group, self.device)
                merged = {group.row: weighted(gradients, within), **{row: gradients.get(name, {}) for name, row in group.exact.items()}}
                backwards += [_onward(row, at_states, encoded) for row, at_states in merged.items()]
            if self.spread:
                loss = through_all_layers([loss for _, tensors, _ in backwards for loss in tensors], encoded)
                backwards = [(MERGED, loss, None)]
        return [backward for backward in backwards if backward[1]]  # without those that no gradient enters

    def _through_heads(
        self,
        row: Hashable,
        loss: Tensor,
        read: Mapping[View, Encoded],
        encoded: Mapping[View, Encoded],
        names: Iterable[str],
        copies: Mapping[Parameter, Tensor],
    ) -> list[Backward]:
        """Send a loss back to the states that it was computed from; returns the backward pass that goes on from there."""
        called = any(module in self.theta for name in names for module in self.system.objectives[name].runs)
        with self.rows.accumulate_into(row, copies) if called else nullcontext():
            loss.backward()
        return [_onward(row, gradients_at(read), encoded)]

    def _encode(self, names: Sequence[str], factors: Mapping[str, float], batch: Batch, tally: Tally) -> dict[View, Encoded]:
        """The views that objectives read; without a graph where no gradient goes back through."""
        taps: dict[View, set[str]] = {}
        through: dict[View, bool] = {}
        for name in names:
            for view, tap in self.system.objectives[name].reads:
                taps.setdefault(view, set()).add(tap)
                through[view] = through.get(view, False) or factors.get(name, 1.0) != 0 or "encoder" not in self.theta
        encoded = {}
        for view, read in taps.items():
            tally.add_seconds(view.frames(batch.lengths[view.input].numpy()) * batch.unit(view.input))
            with torch.set_grad_enabled(through[view]):
                encoded[view] = self.system.encode(batch, view, read)
        return encoded

    def _ending(self, todo: Pass, streams: Sequence[str], stream: str, divisors: Mapping[str, float]) -> list[Hashable]:
        """The rows into which the last gradient of this pass comes from this stream, on whichever process."""
        active = {row: [name for name, factor in factors.items() if factor != 0 and name in divisors] for row, factors in todo.rows.items()}
        last = {row: max(streams.index(self.streams[name]) for name in names) for row, names in active.items() if names}
        return [row for row, number in last.items() if streams[number] == stream]


def _members(todo: Pass, names: Collection[str]) -> list[tuple[StateGroup, list[str]]]:
    """The groups of a pass with those of their objectives that are among `names`."""
    groups = [(group, [name for name in group.objectives if name in names]) for group in todo.groups]
    return [(group, members) for group, members in groups if members]


def _onward(row: Hashable, gradients: StateGradients, encoded: Mapping[View, Encoded]) -> Backward:
    """The backward pass that takes gradients at states through theta into a row."""
    return row, [encoded[view].states[tap] for view, tap in gradients], list(gradients.values())
