"""One multi-objective step: per-objective gradients on the backbone, their weights, the penalty, and plain gradients for the heads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from m2asr.data.batch import Batch
from m2asr.models.encoded import Encoded
from m2asr.moo.gradients import EVERYTHING, GradientBuffers, scale_gradient
from m2asr.moo.layers import conflicting, layers_of
from m2asr.moo.monitor import Conflicts, merged_norm
from m2asr.moo.reuse import Reuse
from m2asr.moo.weighting import Weighting
from m2asr.objectives.objective import Loss
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.train.precision import autocast
from m2asr.train.seeds import seed_of

Draw = Mapping[str, Sequence[Batch]]  # stream -> micro-batches


@dataclass
class Outcome:
    """What a step computed; its gradients lie in every parameter's `.grad`."""

    losses: dict[str, tuple[float, float]] = field(default_factory=dict)  # objective -> sum, weight
    metrics: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    gamma: float = 0.0
    conflicts: Conflicts | None = None
    inactive: list[str] = field(default_factory=list)  # objectives without a target in this step
    frames: float | Tensor = 0.0  # through the encoder, without padding
    problem: str | None = None  # a loss or gradient is not finite: the step must not be applied


class JointStep:
    """Computes the gradients of one step: theta gets sum_m lambda_m g_m + gamma g_lower (M2ASR, Saif et al. 2024).

    `streams` and `levels` say for every objective what it reads and on which level it stands. Weightings that look at gradients
    get one backward per objective over the backbone. Static weights and the penalty multiply the gradient where it enters the
    backbone, so that one backward per batch serves backbone and heads. Heads always get their own plain gradient.

    With `every` above 1 only every k-th step computes weights from gradients; those between use the last ones in the same way as
    static weights, on all draws. With `layers: conflicting` the weighting sees and weights the layers in which some pair of
    objectives has a negative cosine (after tracking; in batch 1 of two); elsewhere objectives are averaged (the finer step
    of the Objective Soups follow-up).
    """

    def __init__(
        self,
        system: System,
        streams: Mapping[str, str],
        levels: Mapping[str, str],
        weighting: Weighting,
        seed: int,
        dtype: torch.dtype,
        every: int = 1,
        layers: Literal["all", "conflicting"] = "all",
    ) -> None:
        self.system, self.weighting, self.seed, self.dtype = system, weighting, seed, dtype
        self.streams = dict(streams)
        self.upper = [name for name in streams if levels[name] == "upper"]
        self.lower = [name for name in streams if levels[name] == "lower"]
        self.buffers = GradientBuffers(list(system.encoder.parameters()), rows(len(self.upper), weighting))
        self.kept = len(self.upper) if weighting.tracks else 0  # the last rows, carried over steps
        if self.kept:
            weighting.keep_in(self.buffers.flat[-self.kept :])
        self.split = layers == "conflicting"
        self.layers = {name: self.buffers.columns(group) for name, group in layers_of(system.encoder).items()}
        self.reuse = Reuse(every)
        self.device = next(system.parameters()).device

    def __call__(self, draws: Sequence[Draw], number: int, gamma: float, measure: bool = False) -> Outcome:
        """Forward and backward of step `number`; `measure` adds how the objectives' gradients stand to each other."""
        outcome = Outcome(gamma=gamma)
        self.system.zero_grad(set_to_none=True)
        self.buffers.zero(range(len(self.buffers.flat) - self.kept))
        passes = [_Pass(self, draw, index, number, outcome) for index, draw in enumerate(draws)]
        for one in passes:  # an objective's loss is the mean over the draws that hold it
            one.draws = {name: sum(other.total[name] > 0 for other in passes) for name in self.streams}
        active = [name for name in self.upper if all(one.total[name] > 0 for one in passes)]
        outcome.inactive = [name for name in self.upper if name not in active]
        outcome.inactive += [name for name in self.lower if not any(one.total[name] > 0 for one in passes)]

        for one in passes:
            one.joint(dict.fromkeys(self.lower, gamma), row=0)
        if self.weighting.dynamic and self.reuse.due(number, active):
            weights = self._dynamic(passes, active, outcome, measure)
            if outcome.problem is None:
                self.reuse.weights = {name: weights[self.upper.index(name)] for name in active}
        else:
            weights = self._known(active)
            for one in passes:
                one.joint(dict(zip(self.upper, weights, strict=True)), row=0)
        outcome.weights = dict(zip(self.upper, weights, strict=True))
        if outcome.conflicts is not None:
            chosen = torch.tensor([outcome.weights[name] for name in active], dtype=torch.float64)
            outcome.conflicts.merged = merged_norm(outcome.conflicts.gramian[: len(active), : len(active)], chosen)
        self.buffers.assign(0)
        outcome.problem = outcome.problem or _not_finite(outcome, draws, self.streams)
        return outcome

    def applied(self, outcome: Outcome) -> None:
        """Tell the weighting the losses of a step whose gradients were applied."""
        active = [name for name in self.upper if name not in outcome.inactive]
        self.weighting.after_step({name: outcome.losses[name][0] / outcome.losses[name][1] for name in active})

    def _known(self, active: list[str]) -> list[float]:
        """Weights that need no gradient of this step."""
        if self.weighting.dynamic:
            return [self.reuse.weights.get(name, 0.0) for name in self.upper]
        return self.weighting.weights(active=[self.upper.index(name) for name in active]).tolist()

    def _dynamic(self, passes: Sequence[_Pass], active: list[str], outcome: Outcome, measure: bool) -> list[float]:
        """Gradients per objective, their weights, and the weighted sum added to row 0."""
        kept = passes[:1] if len(passes) == 3 else passes
        for index, one in enumerate(kept):
            one.separate({name: self._row(name, index) for name in active})
        indices = [self.upper.index(name) for name in active]
        firsts = [self._row(name, 0) for name in self.upper]
        scale = float(len(passes)) ** 2  # the rows hold gradients divided by the number of draws
        parts = self._gramians(firsts, firsts) * scale  # G_1 G_1^T of each layer (L, M, M)
        own = parts.sum(0)
        if measure:
            outcome.conflicts = self._conflicts(active, outcome, scale)
        broken = [name for name in active if not math.isfinite(own[self.upper.index(name), self.upper.index(name)])]
        if broken:
            outcome.problem = f"the gradient of {', '.join(broken)} is not finite"
            return [0.0] * len(self.upper)
        if len(passes) == 3:
            return self._triple(passes, active, indices, own)
        rows = [self._row(name, index) for index in range(len(kept)) for name in self.upper]
        if self.kept:
            self.weighting.track(self.buffers.flat[1 : 1 + self.kept], indices)
            rows = list(range(len(self.buffers.flat) - self.kept, len(self.buffers.flat)))
            parts = self._gramians(rows, rows)
        weighted = conflicting(parts) if self.split else torch.tensor([True])
        weights = uniform = [float(name in active) / max(1, len(active)) for name in self.upper]
        if weighted.any():
            own = parts[weighted].sum(0)
            cross = own if len(passes) == 1 else self._gramians(firsts, rows[len(firsts) :])[weighted].sum(0) * scale  # G_1 G_2^T
            weights = self.weighting.weights(cross, indices, own.diagonal(), _losses(outcome, self.upper)).tolist()
        for layer, is_weighted in zip(self._parts(), weighted.tolist(), strict=True):
            self.buffers.merge([0, *rows], [1.0, *(weights if is_weighted else uniform) * len(kept)], 0, layer)
        return weights

    def _gramians(self, left: Sequence[int], right: Sequence[int]) -> Tensor:
        """Inner products of rows for each layer (L, M, M)."""
        return torch.stack([self.buffers.gramian(left, right, columns) for columns in self._parts()])

    def _parts(self) -> list[slice]:
        """Columns of the layers, where each is weighted or not; else of all of them together."""
        return list(self.layers.values()) if self.split else [EVERYTHING]

    def _triple(self, passes: Sequence[_Pass], active: list[str], indices: list[int], own: Tensor) -> list[float]:
        """MoDo with three batches: G_1 (G_2^T lambda) needs one weighted backward on batch 2, the update one on batch 3."""
        spare = 1 + len(self.upper)
        carried = dict(zip(self.upper, self.weighting.current(indices).tolist(), strict=True))
        passes[1].joint(carried, spare)  # G_2^T lambda / 3
        products = self.buffers.gramian([self._row(name, 0) for name in self.upper], [spare])[:, 0] * 9.0  # (M,)
        weights = self.weighting.weights_along(products, own.diagonal(), indices).tolist()
        # each pass divides by the number of draws, and the update comes from batch 3 alone
        passes[2].joint({name: 3 * weight for name, weight in zip(self.upper, weights, strict=True)}, row=0)
        return weights

    def _row(self, name: str, draw: int) -> int:
        return 1 + draw * len(self.upper) + self.upper.index(name)

    def _conflicts(self, active: list[str], outcome: Outcome, scale: float) -> Conflicts:
        """Inner products of the gradients of batch 1 per layer, with the lower level's gradient, which lies in row 0, as the last."""
        names, rows = list(active), [self._row(name, 0) for name in active]
        pulls = outcome.gamma > 0 and any(name not in outcome.inactive for name in self.lower)
        if pulls:
            names, rows = [*names, "+".join(self.lower)], [*rows, 0]
        unit = torch.full((len(rows),), scale**0.5, dtype=torch.float64)
        unit[len(active) :] = 1.0  # row 0 is gamma times the mean over the draws already
        gramians = {layer: self.buffers.gramian(rows, columns=columns).cpu() * unit.outer(unit) for layer, columns in self.layers.items()}
        pull = float(sum(gramian[-1, -1] for gramian in gramians.values())) ** 0.5 if pulls else 0.0
        return Conflicts(names, gramians, merged=0.0, pull=pull)


class _Pass:
    """Forward and backward over one draw: the streams' batches, each view encoded once."""

    def __init__(self, step: JointStep, draw: Draw, index: int, number: int, outcome: Outcome) -> None:
        self.step, self.draw, self.key, self.outcome = step, draw, (step.seed, number, index), outcome
        self.draws: dict[str, int] = {}
        self.total = dict.fromkeys(step.streams, 0.0)  # weight of every objective in this draw
        for name, stream in step.streams.items():
            objective = step.system.objectives[name]
            for batch in draw.get(stream, ()):
                lengths = step.system.encoder.output_lengths(batch.lengths["feats"])
                self.total[name] += objective.weight(batch, lengths)

    def joint(self, factors: Mapping[str, float], row: int) -> None:
        """One backward for all objectives of a batch; their gradients enter the backbone multiplied by `factors`, into `row`."""
        with self.step.buffers.accumulate_into(row):
            for names, batch, key in self._batches(factors):
                with autocast(self.step.device, self.step.dtype):
                    encoded = self._encode(names, batch, key, grad=any(factors[name] != 0 for name in names))
                    losses = [self._loss(name, _scaled(encoded, factors[name]), batch, key) for name in names]
                torch.stack(losses).sum().backward()

    def separate(self, rows: Mapping[str, int]) -> None:
        """One backward per objective, into the row of the backbone's gradients that `rows` gives it."""
        for names, batch, key in self._batches(rows):
            with autocast(self.step.device, self.step.dtype):
                encoded = self._encode(names, batch, key, grad=True)
                losses = [self._loss(name, encoded, batch, key) for name in names]
            for name, loss in zip(names, losses, strict=True):
                with self.step.buffers.accumulate_into(rows[name]):
                    loss.backward(retain_graph=name != names[-1])

    def _batches(self, wanted: Mapping[str, object]) -> Iterator[tuple[list[str], Batch, tuple]]:
        for stream, batches in self.draw.items():
            names = [name for name in wanted if self.step.streams[name] == stream and self.total[name] > 0]
            for micro, batch in enumerate(batches if names else ()):
                yield names, batch, (*self.key, stream, micro)

    def _encode(self, names: list[str], batch: Batch, key: tuple, grad: bool) -> dict[View, Encoded]:
        views = dict.fromkeys(view for name in names for view in self.step.system.objectives[name].views)
        self.outcome.frames += sum(view.frames(batch.lengths["feats"]) for view in views)
        return {view: self.step.system.encode(batch, replace(view, grad=view.grad and grad), seed_of(*key)) for view in views}

    def _loss(self, name: str, encoded: Mapping[View, Encoded], batch: Batch, key: tuple) -> Tensor:
        torch.manual_seed(seed_of(*key, name))
        loss = self.step.system.objectives[name](encoded, batch)
        self._record(name, loss)
        return loss.sum / (self.total[name] * self.draws[name])

    def _record(self, name: str, loss: Loss) -> None:
        losses, metrics = self.outcome.losses, self.outcome.metrics.setdefault(name, {})
        before = losses.get(name, (0.0, 0.0))
        losses[name] = (before[0] + loss.sum.item(), before[1] + loss.weight)
        for metric, (total, weight) in loss.metrics.items():
            before = metrics.get(metric, (0.0, 0.0))
            metrics[metric] = (before[0] + float(total), before[1] + float(weight))


def rows(objectives: int, weighting: Weighting) -> int:
    """Backbone-sized gradients that a step keeps: 1 static, M + 1 MGDA, 2 M + 1 with two batches or tracking, M + 2 with three batches."""
    if not weighting.dynamic:
        return 1
    return {1: 1 + objectives, 2: 1 + 2 * objectives, 3: 2 + objectives}[weighting.draws] + objectives * weighting.tracks


def _losses(outcome: Outcome, names: Sequence[str]) -> Tensor:
    """Mean losses (M,), 0 for objectives that were not computed."""
    found = [outcome.losses.get(name, (0.0, 0.0)) for name in names]
    return torch.tensor([total / weight if weight else 0.0 for total, weight in found], dtype=torch.float64)


def _scaled(encoded: Mapping[View, Encoded], factor: float) -> Mapping[View, Encoded]:
    if factor == 1:
        return encoded
    scaled = {}
    for view, one in encoded.items():
        states = {tap: scale_gradient(state, factor) if state.requires_grad else state for tap, state in one.states.items()}
        scaled[view] = replace(one, states=states)
    return scaled


def _not_finite(outcome: Outcome, draws: Sequence[Draw], streams: Mapping[str, str]) -> str | None:
    """Names the first objective whose loss is not a number, with the utterances it saw."""
    for name, (total, _) in outcome.losses.items():
        if not math.isfinite(total):
            seen = [utt for draw in draws for batch in draw.get(streams[name], ()) for utt in batch.utt_ids]
            return f"the loss of {name} is {total}; utterances: {' '.join(seen)}"
    return None
