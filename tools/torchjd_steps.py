"""The step of a phase as torchjd does it, in the ways that its API offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter
from torchjd.aggregation import MGDA, Sum
from torchjd.autojac import backward, jac, jac_to_grad, mtl_backward

from m2asr.objectives.view import View
from m2asr.train.optim import clip_groups
from m2asr.train.passes import Draw
from m2asr.train.phase import Phase
from m2asr.train.precision import autocast
from steps import Step

# losses, the states that each of them reads, its head's parameters, shared parameters -> Jacobians in the shared parameters' .jac
Backward = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[list[Parameter]], list[Parameter]], None]


def _multi_task(chunk: int | None) -> Backward:
    def run(losses: Sequence[Tensor], states: Sequence[Tensor], heads: Sequence[list[Parameter]], shared: list[Parameter]) -> None:
        features = list(dict.fromkeys(states))
        mtl_backward(losses, features=features, tasks_params=heads, shared_params=shared, parallel_chunk_size=chunk)

    return run


def _all_losses(chunk: int | None) -> Backward:
    def run(losses: Sequence[Tensor], states: Sequence[Tensor], heads: Sequence[list[Parameter]], shared: list[Parameter]) -> None:
        own = [param for head in heads for param in head]
        backward(losses, inputs=[*shared, *own], parallel_chunk_size=chunk)
        jac_to_grad(own, Sum())  # only its own loss has a gradient there

    return run


# its multi-task backwards: rows of the Jacobian all at once (vmap) or one after another
WAYS: dict[str, Backward] = {
    "mtl_backward, vmap": _multi_task(None),
    "mtl_backward, row by row": _multi_task(1),
    "backward, vmap": _all_losses(None),
    "backward, row by row": _all_losses(1),
}


class TorchJD:
    """Training steps of a phase's system and optimizer with torchjd's MGDA.

    The Gramian is summed over parameters without uniting the Jacobian, which saves torchjd memory.
    """

    def __init__(self, phase: Phase) -> None:
        self.phase, self.system, self.aggregator = phase, phase.system, MGDA()
        self.shared = [param for param in self.system.encoder.parameters() if param.requires_grad]
        self.parts = self.system.module_parameters()

    def at_once(self, way: Backward) -> Step:
        """Forward for all objectives, then one of `WAYS`."""

        def step(draws: Sequence[Draw], number: int) -> None:
            self.system.zero_grad(set_to_none=True)
            found = [self._forward(stream, draws[0]) for stream in dict.fromkeys(self.phase.streams.values())]
            losses = {name: loss for one, _ in found for name, loss in one.items()}
            states = [state for one, state in found for _ in one]
            way(list(losses.values()), states, [self._head(name) for name in losses], self.shared)
            self._update()

        return step

    def stream_by_stream(self) -> Step:
        """One `jac` per stream straight after its forward, the rows put together by hand: its graph is free before the next forward."""

        def step(draws: Sequence[Draw], number: int) -> None:
            self.system.zero_grad(set_to_none=True)
            rows: list[list[Tensor]] = [[] for _ in self.shared]
            for stream in dict.fromkeys(self.phase.streams.values()):
                losses, _ = self._forward(stream, draws[0])
                own = [param for name in losses for param in self._head(name)]
                found = jac(list(losses.values()), [*self.shared, *own], parallel_chunk_size=1)
                for kept, gradient in zip(rows, found, strict=False):
                    kept.append(gradient)
                for param, gradient in zip(own, found[len(self.shared) :], strict=True):
                    param.grad = gradient.sum(0)
            for param, kept in zip(self.shared, rows, strict=True):
                param.jac = torch.cat(kept)
                kept.clear()
            self._update()

        return step

    def _forward(self, stream: str, draw: Draw) -> tuple[Mapping[str, Tensor], Tensor]:
        """The mean loss of every objective on a stream, and the encoder states that they read."""
        (batch,) = draw[stream]
        names = [name for name, one in self.phase.streams.items() if one == stream]
        losses, batch = {}, batch.to(self.system.mean.device)
        with autocast(batch.inputs["feats"].device, self.phase.dtype):
            encoded = self.system.encode(batch, View(), ["output"])
            for name in names:
                losses[name] = self.system.objectives[name]({View(): encoded}, batch.shares[name]).sum / batch.shares[name].weight
        return losses, encoded.states["output"]

    def _head(self, name: str) -> list[Parameter]:
        return list(self.system.objectives[name].parameters())

    def _update(self) -> None:
        jac_to_grad(self.shared, self.aggregator, optimize_gramian_computation=True)
        clip_groups(self.parts, self.phase.optimizer.config.clip)
        self.phase.optimizer.step(0.0)
