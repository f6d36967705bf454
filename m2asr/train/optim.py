"""Optimizer, learning-rate schedules per parameter group, and clipping part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.train_config import Optim


class Optimizer:
    """Adam or AdamW over the groups backbone, heads and ssl, with a rate that is a function of the position in the run.

    Biases, norms and other vectors have no weight decay.
    """

    def __init__(self, config: Optim, groups: Mapping[str, Sequence[tuple[str, Parameter]]], total_steps: int) -> None:
        self.config, self.total_steps = config, total_steps
        parts = []
        for name, parameters in groups.items():
            matrices = [parameter for _, parameter in parameters if parameter.dim() > 1]
            vectors = [parameter for _, parameter in parameters if parameter.dim() <= 1]
            for members, decay in ((matrices, config.weight_decay), (vectors, 0.0)):
                if members:
                    parts.append({"params": members, "weight_decay": decay, "name": name})
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.type]
        self.inner = kind(parts, lr=0.0, betas=config.betas, eps=1e-8, fused=True)

    def step(self, position: float) -> dict[str, float]:
        """Update with the rates of this position (steps from 0) and return them per group."""
        rates = self.rates(position)
        for group in self.inner.param_groups:
            group["lr"] = rates[group["name"]]
        self.inner.step()
        return rates

    def rates(self, position: float) -> dict[str, float]:
        """Learning rate per group: a linear warm-up to the peak, then what `schedule` says."""
        peaks = self.config.lr.model_dump()
        return {name: peaks[name] * self._factor(name, position) for name in {group["name"] for group in self.inner.param_groups}}

    def _factor(self, name: str, position: float) -> float:
        config = self.config
        given = config.warmup_steps
        warmup = max(1, given.get(name, 0) if isinstance(given, dict) else given)
        if position + 1 < warmup:
            return (position + 1) / warmup
        if config.schedule == "warmup_constant":
            return 1.0
        if config.schedule == "noam":
            return math.sqrt(warmup / (position + 1))
        progress = min(1.0, max(0.0, (position + 1 - warmup) / max(1.0, self.total_steps - warmup)))
        falling = (1 + math.cos(math.pi * progress)) / 2 if config.schedule == "warmup_cosine" else 1 - progress
        return config.final_lr + (1 - config.final_lr) * falling


def clip_groups(groups: Sequence[tuple[str, Sequence[Parameter]]], limit: float) -> dict[str, float]:
    """Scale the gradients of each named part down to norm `limit`; returns the norms from before (nan or inf: left as they are).

    Parts are clipped apart, so that a head with a large gradient does not slow the backbone down.
    """
    found: list[tuple[str, list[Tensor], Tensor]] = []
    for name, parameters in groups:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            norms = torch._foreach_norm(gradients)
            found.append((name, gradients, torch.linalg.vector_norm(torch.stack(norms))))
    if not found:
        return {}
    values = torch.stack([norm for _, _, norm in found]).tolist()  # the one wait for the device
    for (_, gradients, _), norm in zip(found, values, strict=True):
        if math.isfinite(norm) and norm > limit:
            torch._foreach_mul_(gradients, limit / norm)
    return {name: norm for (name, _, _), norm in zip(found, values, strict=True)}
