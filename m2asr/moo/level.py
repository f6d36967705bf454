"""One level of objectives: which rows hold their gradients, what they weigh, and how they are merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from m2asr.moo.gradients import EVERYTHING, GradientBuffers
from m2asr.moo.layers import conflicting
from m2asr.moo.reuse import Reuse
from m2asr.moo.weighting import Weighting


class Level:
    """Objectives that one weighting merges with each other, as one of the levels of a step.

    Levels nest, from upper to lower: theta moves along lambda_1 G_1 + gamma_2 (lambda_2 G_2 + gamma_3 (...)). A level whose gradients are
    kept apart has rows of the buffers: M with one batch per step, 2 M with two or with tracking, M + 1 with three.

    With `every` above 1 only every k-th step computes weights from gradients; those between use the last ones in the same way as
    static weights, on all draws. With `layers: conflicting` the weighting sees and weights the layers in which some pair of
    objectives has a negative cosine (after tracking; in batch 1 of two); elsewhere objectives are averaged (the finer step
    of the Objective Soups follow-up).

    Of several processes the first asks the weighting, and all use its answer.

    Args:
        objectives: names, in the order of the weighting's.
        weighting: how they are merged.
        every: steps between two times that weights are computed from gradients.
        layers: on which layers they apply.
        apart: keep gradients apart even where the weighting does not look at them, to measure how they stand to each other.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        weighting: Weighting,
        every: int = 1,
        layers: Literal["all", "conflicting"] = "all",
        apart: bool = False,
    ) -> None:
        self.objectives, self.weighting = list(objectives), weighting
        self.reuse, self.split = Reuse(every), layers == "conflicting"
        self.draws = weighting.draws
        self.apart = weighting.dynamic or apart
        count = len(self.objectives)
        self.kept = count if weighting.tracks else 0  # the last rows, carried over steps
        self.rows = ({1: count, 2: 2 * count, 3: count + 1}[self.draws] if self.apart else 0) + self.kept

    def settle(self, buffers: GradientBuffers, first: int, layers: Mapping[str, slice]) -> None:
        """Take `rows` rows of the buffers from `first` on; `layers` are the columns of each layer."""
        self.buffers, self.first = buffers, first
        self.parts = list(layers.values()) if self.split else [EVERYTHING]
        if self.kept:
            self.weighting.keep_in([buffers.part(row) for row in range(first + self.rows - self.kept, first + self.rows)])

    def release(self) -> None:
        """Let go of the buffers."""
        del self.buffers
        if self.kept:
            self.weighting.keep_in(None)

    def keeps_apart(self, due: bool, measure: bool) -> bool:
        """Whether a step that computes weights (`due`), or that is to be measured, keeps the objectives' gradients in rows of their own."""
        return self.apart and (due or measure)

    @property
    def passing(self) -> range:
        """The rows that start from 0 in every step."""
        return range(self.first, self.first + self.rows - self.kept)

    @property
    def spare(self) -> int:
        """With three batches: the row for G_2^T lambda."""
        return self.first + len(self.objectives)

    def row(self, name: str, draw: int = 0) -> int:
        """Where the gradient of an objective goes. With one batch per step, draws for the sake of other levels add up in one row."""
        offset = draw * len(self.objectives) if self.draws == 2 else 0
        return self.first + offset + self.objectives.index(name)

    def due(self, number: int, active: list[str]) -> bool:
        """Whether step `number` computes weights from gradients."""
        return self.weighting.dynamic and self.reuse.due(number, active)

    def known(self, active: list[str]) -> dict[str, float]:
        """Weights that need no gradient of this step."""
        if self.weighting.dynamic:
            kept = self.reuse.weights or {}
            return {name: kept.get(name, 0.0) if name in active else 0.0 for name in self.objectives}
        return self._named(self._agreed(lambda: self.weighting.weights(active=self._indices(active))))

    def current(self, active: list[str]) -> dict[str, float]:
        """With three batches: the weights before this step."""
        return self._named(self._agreed(lambda: self.weighting.current(self._indices(active))))

    def take_in(self, active: list[str]) -> list[str]:
        """Take in the gradients of this step, before they are weighed; returns the active objectives whose gradient is not finite."""
        firsts = self._rows_of(0)
        if self.kept:  # the Gramian will be that of tracked gradients
            finite = self.buffers.finite(firsts)
        else:
            found = self._gramians(firsts, firsts + (self._rows_of(1) if self.draws == 2 else []))
            self._own, self._cross = found[..., : len(firsts)], found[..., len(firsts) :]  # G_1 G_1^T and G_1 G_2^T of each layer (L, M, M)
            diagonals = [part.sum(0).diagonal() for part in (self._own, self._cross) if part.numel()]
            finite = torch.stack(diagonals).isfinite().all(0).tolist()
        return [name for name in active if not finite[self.objectives.index(name)]]

    def weigh(self, active: list[str], losses: Mapping[str, float], factor: float) -> dict[str, float]:
        """The weights of this step from mean losses and the gradients taken in; adds the merged gradient times `factor` to row 0."""
        indices, firsts = self._indices(active), self._rows_of(0)
        rows = self._rows_of(0) + (self._rows_of(1) if self.draws == 2 else [])
        if self.kept:
            self.weighting.track({m: self.buffers.part(firsts[m]) for m in indices})
            rows = list(range(self.passing.stop, self.passing.stop + self.kept))
            self._own = self._gramians(rows, rows)
        own = self._own
        weighted = conflicting(own[:, indices][:, :, indices]) if self.split else torch.tensor([True])
        weights = uniform = torch.tensor([float(name in active) for name in self.objectives], dtype=torch.float64) / max(1, len(active))
        if weighted.any():
            own = own[weighted].sum(0)
            cross = own if self.draws == 1 else self._cross[weighted].sum(0)
            values = torch.tensor([losses.get(name, 0.0) for name in self.objectives], dtype=torch.float64)
            norms = own.diagonal() * self._unit
            weights = self._agreed(lambda: self.weighting.weights(cross * self._unit, indices, norms, values))
        for columns, is_weighted in zip(self.parts, weighted.tolist(), strict=True):
            values = (factor * (weights if is_weighted else uniform)).tolist()
            self.buffers.merge([0, *rows], [1.0, *values * (len(rows) // len(values))], 0, columns)
        return self._found(weights, active)

    def take_in_second(self) -> bool:
        """With three batches: take in G_2^T lambda, which lies in the spare row; returns whether its products with G_1 are finite."""
        self._along = self.buffers.gramian(self._rows_of(0), [self.spare])[:, 0]  # G_1 G_2^T lambda (M,)
        return bool(self._along.isfinite().all())

    def weigh_third(self, active: list[str]) -> dict[str, float]:
        """With three batches: the weights from what was taken in of the first two."""
        products, norms = self._along * self._unit, self._own.sum(0).diagonal() * self._unit
        return self._found(self._agreed(lambda: self.weighting.weights_along(products, norms, self._indices(active))), active)

    def add(self, weights: Mapping[str, float], factor: float) -> None:
        """Add the gradients of this step with known weights, times `factor`, to row 0."""
        for draw in range(2 if self.draws == 2 else 1):
            self.buffers.merge([0, *self._rows_of(draw)], [1.0, *(factor * weights[name] for name in self.objectives)], 0)

    def warning(self) -> str | None:
        """One line for the user if the weights behave badly."""
        return self.weighting.warning()

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors for a checkpoint: those of process 0, which the others help to make whole."""
        weighting = self.weighting.state_dict()
        if self.kept:
            weighting["tracked"] = {name: self.buffers.whole(part) for name, part in weighting["tracked"].items()}
        return {"weighting": weighting, "reuse": self.reuse.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`. Raises UserError if it is that of another weighting or of other objectives."""
        weighting = dict(state["weighting"])
        if self.kept and "tracked" in weighting:
            weighting["tracked"] = {name: self.buffers.own(row) for name, row in weighting["tracked"].items()}
        self.weighting.load_state_dict(weighting)
        self.reuse.load_state_dict(state["reuse"])

    def _found(self, weights: Tensor, active: list[str]) -> dict[str, float]:
        named = self._named(weights)
        self.reuse.weights = {name: named[name] for name in active}
        return named

    def _agreed(self, compute: Callable[[], Tensor], size: int | None = None) -> Tensor:
        """Weights that one process computes for all, one per objective or `size` of them."""
        group = self.buffers.group
        return group.broadcast(compute() if group.rank == 0 else torch.empty(size or len(self.objectives), dtype=torch.float64))

    def _gramians(self, left: Sequence[int], right: Sequence[int]) -> Tensor:
        """Inner products of rows for each layer, where layers are told apart (L, M, M)."""
        return self.buffers.gramians(left, right, self.parts)

    def _rows_of(self, draw: int) -> list[int]:
        return [self.row(name, draw) for name in self.objectives]

    def _indices(self, active: list[str]) -> list[int]:
        return [self.objectives.index(name) for name in active]

    def _named(self, weights: Tensor) -> dict[str, float]:
        return dict(zip(self.objectives, weights.tolist(), strict=True))

    @property
    def _unit(self) -> float:
        """What makes products of rows products of gradients: rows hold gradients divided by the number of draws."""
        return float(self.draws**2)
