"""Weights of objectives from their gradients at the states that they read, before these go on through theta (`gradients: features`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from m2asr.moo.collectives import Collectives
from m2asr.moo.feature_level import StateGroup
from m2asr.moo.gramian import all_pairs, inner_products
from m2asr.objectives.view import View

StateGradients = Mapping[tuple[View, str], Tensor]  # by view and tap


def weigh_states(
    group: StateGroup, members: Sequence[str], gradients: Mapping[str, StateGradients], processes: Collectives, device: torch.device
) -> dict[str, float]:
    """The weights of a group's active objectives, from the gradients of those that have a target in this process's batch.

    Utterances do not share states, so the Gramian of a batch is the sum of the processes' Gramians, to which all of them contribute.
    """
    total = torch.zeros(len(members), len(members), dtype=torch.float64, device=device)
    for key in _keys(gradients):
        flat = {name: states[key].flatten() for name, states in gradients.items() if key in states}
        total += inner_products(flat, all_pairs(members, members), [slice(None)]).view_as(total)
    return group.level.weigh_states(members, processes.all_reduce(total.cpu()))


def weighted(gradients: Mapping[str, StateGradients], weights: Mapping[str, float]) -> StateGradients:
    """The weighted sum of gradients at states, summed in float32 or better, in their type."""
    return {key: _sum({name: states[key] for name, states in gradients.items() if key in states}, weights) for key in _keys(gradients)}


def _keys(gradients: Mapping[str, StateGradients]) -> list[tuple[View, str]]:
    return list(dict.fromkeys(key for states in gradients.values() for key in states))


def _sum(gradients: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    first = next(iter(gradients.values()))
    total = torch.zeros_like(first, dtype=torch.promote_types(first.dtype, torch.float32))
    for name, gradient in gradients.items():
        total.add_(gradient.to(total.dtype), alpha=weights[name])
    return total.to(first.dtype)
