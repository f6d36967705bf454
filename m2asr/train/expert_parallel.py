"""Experts spread over processes: each has its share of every layer's experts, and rows go to their expert and back (Lepikhin et al. 2021).

The gradient of an expert then comes from the rows of all processes to the one that has it, so it needs no sum; its value is that of
replicated experts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.data.batch import Batch
from m2asr.errors import UserError
from m2asr.models.encoded import Encoded
from m2asr.models.experts import Apply, ExpertFeedForward
from m2asr.moo.collectives import Collectives
from m2asr.objectives.system import System
from m2asr.objectives.view import View


class RowExchange:
    """Sends rows to the processes that have their experts, and brings the outputs back.

    Args:
        group: the processes, each with `count / world` experts in the order of ranks.
        count: the number of all experts.
    """

    def __init__(self, group: Collectives, count: int) -> None:
        self.group, self.count = group, count

    def __call__(self, apply: Apply, rows: Tensor, experts: Tensor) -> Tensor:
        """The outputs (N, D) of the experts (N,) of rows (N, D); zeros for a row without an expert, whose number is `count`."""
        world = self.group.world
        counts = torch.bincount(experts, minlength=self.count + 1)[: self.count]  # (E,)
        order = experts.argsort(stable=True)[: int(counts.sum())]
        arriving = self.group.exchange_rows(counts.view(world, -1), [1] * world, [1] * world)  # (world, E / world)
        sent, received = counts.view(world, -1).sum(1).tolist(), arriving.sum(1).tolist()
        local = torch.arange(arriving.shape[1], device=rows.device).repeat(world).repeat_interleave(arriving.flatten())
        outputs = apply(_Exchange.apply(rows[order], self.group, sent, received), local)
        returned = _Exchange.apply(outputs, self.group, received, sent)
        return returned.new_zeros(len(rows), returned.shape[1]).index_copy(0, order, returned)


class _Exchange(torch.autograd.Function):
    """Sends rows to the processes of their experts, and the gradients of what arrives back."""

    @staticmethod
    def forward(ctx, rows: Tensor, group: Collectives, sent: list[int], received: list[int]) -> Tensor:
        ctx.group, ctx.sent, ctx.received = group, sent, received
        return group.exchange_rows(rows, sent, received)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.group.exchange_rows(gradient, ctx.received, ctx.sent), None, None, None


def spread_experts(system: System, group: Collectives) -> None:
    """Cut down the experts of the encoder to the share of this process, in a system that all processes have completely.

    Raises UserError if the system has no experts, or their number cannot be shared equally.
    """
    experts = system.encoder.experts
    if experts is None:
        raise UserError("train.expert_parallel: the encoder has no experts; add `model.encoder.experts`, or take this away")
    if experts.count % group.world:
        raise UserError(
            f"train.expert_parallel: {experts.count} experts cannot be shared by {group.world} processes equally; change "
            "model.encoder.experts.count, or the number of processes"
        )
    if group.world > 1:
        system.spread_names = frozenset(name for name in system.stacks if name.startswith("encoder."))
        for layer in system.encoder.modules():
            if isinstance(layer, ExpertFeedForward):
                spread_layer(layer, group)


def spread_layer(layer: ExpertFeedForward, group: Collectives) -> None:
    """Cut down the experts of a layer to the share of this process."""
    layer.exchange = RowExchange(group, layer.count)
    for linear in (layer.wide, layer.narrow):
        for name, param in linear.named_parameters(recurse=False):
            setattr(linear, name, Parameter(param.detach()[group.part(len(param))].clone()))


def as_many_batches(batches: Sequence[Batch], system: System, names: Sequence[str], group: Collectives) -> list[Batch]:
    """The batches that these objectives read, and empty ones up to the number of the process that has most: it needs the experts of all."""
    counts = torch.zeros(group.world, dtype=torch.float64)
    counts[group.rank] = len(batches)
    missing = int(group.all_reduce(counts).max()) - len(batches)
    views = {view: None for name in names for view in system.objectives[name].views}
    return [*batches, *(system.blank(views) for _ in range(missing))]


def through_all_layers(losses: Sequence[Tensor], encoded: Mapping[View, Encoded]) -> list[Tensor]:
    """The sum of losses, if any, whose backward pass goes through the layers behind all states, whichever of them the losses read."""
    nothing = [0.0 * state.sum() for read in encoded.values() for state in read.states.values() if state.requires_grad]
    return [torch.stack([*losses, *nothing]).sum()] if losses or nothing else []


def part_of(weights: Mapping[str, Tensor], names: Collection[str], group: Collectives) -> dict[str, Tensor]:
    """The tensors `weights`, of which those in `names` are cut down to the share of this process."""
    return {name: value[group.part(len(value))] if name in names and value.dim() else value for name, value in weights.items()}


def whole(weights: Mapping[str, Tensor], names: Collection[str], group: Collectives) -> dict[str, Tensor]:
    """The tensors `weights`, of which those in `names` are joined from the shares of all processes, which must all call this."""
    return {name: _whole(value, group) if name in names and value.dim() else value for name, value in weights.items()}


def whole_shapes(weights: Mapping[str, Tensor], names: Collection[str], group: Collectives) -> dict[str, Tensor]:
    """The tensors `weights`, of which those in `names` have the shape of the joined ones, and no memory."""
    shapes = {name: (group.world * len(value), *value.shape[1:]) for name, value in weights.items() if name in names}
    return {name: torch.empty(shapes[name], device="meta") if name in shapes else value for name, value in weights.items()}


def _whole(share: Tensor, group: Collectives) -> Tensor:
    together = share.new_empty(group.world * share.numel())
    together[group.part(len(together))] = share.detach().flatten()
    group.all_gather(together)
    group.wait()
    return together.view(group.world * len(share), *share.shape[1:])
