"""Layers of a network, and which of them the objectives fight over."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import Parameter


def layers_of(module: nn.Module) -> dict[str, list[Parameter]]:
    """Trainable parameters of each layer by name: the direct children of `module`, lists of modules taken apart, in order of definition."""
    children: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        children |= {f"{name}.{place}": one for place, one in child.named_children()} if isinstance(child, nn.ModuleList) else {name: child}
    groups = {"own": list(module.parameters(recurse=False))}
    groups |= {name: list(child.parameters()) for name, child in children.items()}
    trained = {name: [param for param in params if param.requires_grad] for name, params in groups.items()}
    return {name: params for name, params in trained.items() if params}


def conflicting(gramians: Tensor) -> Tensor:
    """Which layers (L,) have a pair of gradients with a negative cosine, from their Gramians (L, M, M)."""
    row, column = torch.triu_indices(gramians.shape[1], gramians.shape[1], offset=1, device=gramians.device)
    return (gramians[:, row, column] < 0).any(1)
