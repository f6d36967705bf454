"""The layers of a network, and those in which gradients of objectives conflict."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import Parameter


def layers_of(modules: Mapping[str, nn.Module]) -> dict[str, list[Parameter]]:
    """Trainable parameters of each layer by name: the direct children of modules, lists of modules taken apart, in order of definition.

    Names begin with that of the module where there are several. A parameter that two layers share belongs to the first.
    """
    layers: dict[str, list[Parameter]] = {}
    seen: set[Parameter] = set()
    for module_name, module in modules.items():
        prefix = f"{module_name}." if len(modules) > 1 else ""
        groups = {f"{prefix}own": list(module.parameters(recurse=False))}
        for name, child in module.named_children():
            parts = child.named_children() if isinstance(child, nn.ModuleList) else [(None, child)]
            groups |= {prefix + (name if number is None else f"{name}.{number}"): list(part.parameters()) for number, part in parts}
        for name, params in groups.items():
            layers[name] = [param for param in dict.fromkeys(params) if param.requires_grad and param not in seen]
            seen.update(params)
    return {name: params for name, params in layers.items() if params}


def conflicting(gramians: Tensor) -> Tensor:
    """Which layers (L,) have a pair of gradients with a negative cosine, from their Gramians (L, M, M)."""
    row, column = torch.triu_indices(gramians.shape[1], gramians.shape[1], offset=1, device=gramians.device)
    return (gramians[:, row, column] < 0).any(1)
