"""Training steps of a phase with torchjd, by each of its backward functions."""

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

# (losses, states that each loss reads, parameters of each loss's head, shared parameters); stores Jacobians in the shared parameters' .jac
Backward = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[list[Parameter]], list[Parameter]], None]


def _multi_task(chunk: int | None) -> Backward:
    def run(losses: Sequence[Tensor], states: Sequence[Tensor], heads: Sequence[list[Parameter]], shared: list[Parameter]) -> None:
        features = list(dict.fromkeys(states))
        mtl_backward(losses, features=features, tasks_params=heads, shared_params=shared, parallel_chunk_size=chunk)

    return run


def _all_losses(chunk: int | None) -> Backward:
    def run(losses: Sequence[Tensor], states: Sequence[Tensor], heads: Sequence[list[Parameter]], shared: list[Parameter]) -> None:
        head_params = [param for head in heads for param in head]
        backward(losses, inputs=[*shared, *head_params], parallel_chunk_size=chunk)
        jac_to_grad(head_params, Sum())  # a head gets a gradient from its own loss only

    return run


# torchjd's multi-task backward functions, with all rows of the Jacobian at the same time (vmap) or one after another
WAYS: dict[str, Backward] = {
    "mtl_backward, vmap": _multi_task(None),
    "mtl_backward, row by row": _multi_task(1),
    "backward, vmap": _all_losses(None),
    "backward, row by row": _all_losses(1),
}


class TorchJD:
    """Training steps of a phase's system and optimizer with torchjd's MGDA.

    The Gramian is summed over parameters without joining the Jacobian into one matrix, which saves torchjd memory.
    """

    def __init__(self, phase: Phase) -> None:
        self.phase, self.system, self.aggregator = phase, phase.system, MGDA()
        self.shared = [param for param in self.system.encoder.parameters() if param.requires_grad]
        self.modules = self.system.module_parameters()

    def at_once(self, way: Backward) -> Step:
        """A step with a forward for all objectives, and then a backward function of `WAYS`."""

        def step(draws: Sequence[Draw], number: int) -> None:
            self.system.zero_grad(set_to_none=True)
            by_stream = [self._forward(stream, draws[0]) for stream in dict.fromkeys(self.phase.streams.values())]
            losses = {name: loss for stream_losses, _ in by_stream for name, loss in stream_losses.items()}
            states = [state for stream_losses, state in by_stream for _ in stream_losses]
            way(list(losses.values()), states, [self._head(name) for name in losses], self.shared)
            self._update()

        return step

    def stream_by_stream(self) -> Step:
        """A step with a `jac` per stream directly after its forward, so that its graph is freed before the next forward.

        The rows of the Jacobian are joined here.
        """

        def step(draws: Sequence[Draw], number: int) -> None:
            self.system.zero_grad(set_to_none=True)
            rows: list[list[Tensor]] = [[] for _ in self.shared]
            for stream in dict.fromkeys(self.phase.streams.values()):
                losses, _ = self._forward(stream, draws[0])
                head_params = [param for name in losses for param in self._head(name)]
                gradients = jac(list(losses.values()), [*self.shared, *head_params], parallel_chunk_size=1)
                for param_rows, gradient in zip(rows, gradients, strict=False):
                    param_rows.append(gradient)
                for param, gradient in zip(head_params, gradients[len(self.shared) :], strict=True):
                    param.grad = gradient.sum(0)
            for param, param_rows in zip(self.shared, rows, strict=True):
                param.jac = torch.cat(param_rows)
                param_rows.clear()
            self._update()

        return step

    def _forward(self, stream: str, draw: Draw) -> tuple[Mapping[str, Tensor], Tensor]:
        """The mean loss of every objective on a stream, and the encoder states that they read."""
        (batch,) = draw[stream]
        names = [name for name, its_stream in self.phase.streams.items() if its_stream == stream]
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
        clip_groups(self.modules, self.phase.optimizer.config.clip)
        self.phase.optimizer.step(0.0)
