"""Layers of a network, and which of them the objectives fight over."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import Parameter


def layers_of(module: nn.Module) -> list[list[Parameter]]:
    """Trainable parameters of each layer: the direct children of `module`, lists of modules taken apart, in order of definition."""
    children = []
    for child in module.children():
        children += list(child) if isinstance(child, nn.ModuleList) else [child]
    groups = [[param for param in child.parameters() if param.requires_grad] for child in children]
    own = [param for param in module.parameters(recurse=False) if param.requires_grad]
    return [group for group in [own, *groups] if group]


def conflicting(gramians: Tensor) -> Tensor:
    """Which layers (L,) have a pair of gradients with a negative cosine, from their Gramians (L, M, M)."""
    row, column = torch.triu_indices(gramians.shape[1], gramians.shape[1], offset=1, device=gramians.device)
    return (gramians[:, row, column] < 0).any(1)
