"""Gradients at the states that objectives read, and what goes back from there through the backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from m2asr.models.encoded import Encoded
from m2asr.moo.feature_level import FeatureLevel
from m2asr.objectives.view import View

Backward = tuple[int, list[Tensor], list[Tensor] | None]  # a row, tensors, and their gradients (None: scalars)
Place = tuple[View, str]  # of states: the view and the tap


class StateGradients:
    """What a feature-level level does in one step: each objective's backward pass ends at copies of the states it reads.

    Heads get their plain gradient there. Then the weights within each group are found, and the weighted state gradients go back
    through the backbone together, one pass per group.

    Args:
        level: the level.
        names: its active objectives.
        exact: also send every objective's state gradient through the backbone alone, into its own row, to measure.

    Attributes:
        weights: those within the groups, by objective, as far as they were computed.
    """

    def __init__(self, level: FeatureLevel, names: Sequence[str], exact: bool) -> None:
        self.level, self.names, self.exact = level, list(names), exact
        self.weights: dict[str, float] = {}
        self._read: dict[str, Mapping[View, Encoded]] = {}
        self._broken: list[str] = []

    def cut(self, name: str, encoded: Mapping[View, Encoded]) -> Mapping[View, Encoded]:
        """The same states for one objective, cut off from the backbone, so that they collect its gradient."""
        self._read[name] = cut_off(encoded)
        return self._read[name]

    def backwards(self, encoded: Mapping[View, Encoded], losses: Mapping[str, Tensor]) -> Iterator[Backward]:
        """Run the objectives' backward passes down to their states; yields what is to go on through the backbone, and where to.

        `losses` may hold other objectives too; those of this level were computed from `cut` states.
        """
        own = {name: losses[name] for name in self.names if name in losses}
        if own:
            torch.stack(list(own.values())).sum().backward()  # copies are separate, so one call serves all
        for place, group in enumerate(self.level.groups):
            found = {name: _gradients(self._read.pop(name)) for name in group if name in own}
            if not found:
                continue
            where = list(dict.fromkeys(key for gradients in found.values() for key in gradients))
            states = [encoded[view].states[tap] for view, tap in where]
            stacks = [_stack([gradients.get(key) for gradients in found.values()]) for key in where]  # (K, B, T', D) each
            weights = self._weigh(list(found), state_gramian(stacks, len(found)))
            if states:
                yield self.level.group_row(place), states, [_weighted(weights, stack) for stack in stacks]
            if states and self.exact:
                for number, name in enumerate(found):
                    yield self.level.row(name), states, [stack[number] for stack in stacks]

    def rows(self, names: Sequence[str]) -> list[int]:
        """The rows into which `backwards` sends gradients where a batch has these objectives, in its order."""
        found = []
        for place, group in enumerate(self.level.groups):
            own = [name for name in group if name in self.names and name in names]
            found += [self.level.group_row(place)] if own else []
            found += [self.level.row(name) for name in own if self.exact]
        return found

    def without_batch(self, names: Sequence[str]) -> None:
        """In a process that has no batch of these objectives: find the weights with those that have one."""
        for group in self.level.groups:
            own = [name for name in group if name in self.names and name in names]
            if own:
                self._weigh(own, torch.zeros(len(own), len(own), dtype=torch.float64))

    def _weigh(self, names: Sequence[str], gramian: Tensor) -> Tensor:
        """Weights (K,) within a group from the Gramian (K, K) of this process's part of the batch."""
        gramian = self.level.buffers.group.all_reduce(gramian.to(self.level.buffers.device))
        self._broken += [name for name, square in zip(names, gramian.diagonal().tolist(), strict=True) if not square < float("inf")]
        weights = self.level.weigh_group(names, gramian)
        self.weights |= dict(zip(names, weights.tolist(), strict=True))
        return weights

    def broken(self) -> list[str]:
        """The objectives whose gradient is not finite, at the states or further down."""
        return self._broken or self.level.take_in_groups(self.names)


def cut_off(encoded: Mapping[View, Encoded]) -> Mapping[View, Encoded]:
    """The same states, cut off from the backbone, so that they collect what a backward pass brings."""
    return {
        view: replace(one, states={tap: state.detach().requires_grad_(state.requires_grad) for tap, state in one.states.items()})
        for view, one in encoded.items()
    }


def through_head(row: int, loss: Tensor, read: Mapping[View, Encoded], encoded: Mapping[View, Encoded]) -> Backward:
    """The backward pass of a loss down to `read`, which it read in place of `encoded`; what is to go on from there, into `row`."""
    loss.backward()
    found = _gradients(read)
    return row, [encoded[view].states[tap] for view, tap in found], list(found.values())


def state_gramian(stacks: Sequence[Tensor], count: int) -> Tensor:
    """Inner products (K, K) of `count` gradients, each spread over several `stacks` (K, ...); products and sums are float64.

    Utterances do not share states, so the Gramian of a batch is the sum of its parts'.
    """
    total = torch.zeros(count, count, dtype=torch.float64, device=stacks[0].device if stacks else None)
    for stack in stacks:
        rows = stack.flatten(1).double()
        total += rows @ rows.T
    return total


def _gradients(read: Mapping[View, Encoded]) -> dict[Place, Tensor]:
    """The gradients that the states of one objective have collected."""
    return {(view, tap): state.grad for view, one in read.items() for tap, state in one.states.items() if state.grad is not None}


def _stack(gradients: Sequence[Tensor | None]) -> Tensor:
    """Gradients at one place, 0 for objectives that do not read it."""
    known = next(gradient for gradient in gradients if gradient is not None)
    return torch.stack([torch.zeros_like(known) if gradient is None else gradient for gradient in gradients])


def _weighted(weights: Tensor, stack: Tensor) -> Tensor:
    """sum_k weights[k] stack[k], summed in float32 or better, in the type of `stack`."""
    wide = stack.to(torch.promote_types(stack.dtype, torch.float32))
    return (weights.to(wide).reshape(-1, *[1] * (wide.dim() - 1)) * wide).sum(0).to(stack.dtype)
