"""Optimizers of a phase, learning-rate schedules per parameter group, and clipping part by part."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.form import Misfit, check_form
from m2asr.moo.collectives import Collectives
from m2asr.train.muon import Muon
from m2asr.train_config import Optim

Named = tuple[str, Parameter]


class Optimizer:
    """Adam, AdamW or Muon over the groups backbone, heads and ssl, with a rate that is a function of the position in the run.

    Muon moves the matrices of the backbone, at `muon.rate` times its rate, and AdamW all else. Biases, norms and other vectors have no
    weight decay. Moments are saved under the names of their parameters.

    Args:
        groups: the named parameters of each group.
        total_steps: at which the schedule ends.
        dtype: of Muon's products.
        stacks: names of parameters whose first dimension is that of experts, each of which has its own matrix or vector.
        group: the processes that train together; they share Muon's products.
        spread: parameters that are different ones in every process.
    """

    def __init__(
        self,
        config: Optim,
        groups: Mapping[str, Sequence[Named]],
        total_steps: int,
        dtype: torch.dtype = torch.float32,
        stacks: Collection[str] = (),
        group: Collectives | None = None,
        spread: Collection[Parameter] = (),
    ) -> None:
        self.config, self.total_steps, self.groups = config, total_steps, list(groups)
        self.params = dict(pair for members in groups.values() for pair in members)
        dims = {name: param.dim() - (name in stacks) for name, param in self.params.items()}
        matrices = [param for name, param in groups.get("backbone", ()) if dims[name] == 2] if config.type == "muon" else []
        self.optimizers: list[torch.optim.Optimizer] = []
        if matrices:
            options = {"momentum": config.muon.momentum, "steps": config.muon.steps, "dtype": dtype, "group": group, "spread": spread}
            backbone = {"params": matrices, "name": "backbone", "rate": config.muon.rate}
            self.optimizers.append(Muon([backbone], lr=0.0, weight_decay=config.weight_decay, **options))
        rest = _param_groups(groups, {id(param) for param in matrices}, config.weight_decay, dims)
        if rest:
            kind = torch.optim.Adam if config.type == "adam" else torch.optim.AdamW
            self.optimizers.append(kind(rest, lr=0.0, betas=config.betas, eps=1e-8, fused=True))
        self._moved_by: dict[Parameter, torch.optim.Optimizer] = {}
        for optimizer in self.optimizers:
            self._moved_by |= {param: optimizer for group in optimizer.param_groups for param in group["params"]}

    def step(self, position: float) -> dict[str, float]:
        """Update with the rates of this position (steps from 0) and return them per group."""
        rates = self.rates(position)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * rates[group["name"]]
            optimizer.step()
        return rates

    def rates(self, position: float) -> dict[str, float]:
        """Learning rate per group: a linear warm-up to the peak, then what `schedule` says."""
        peaks = self.config.lr.model_dump()
        return {name: peaks[name] * self._factor(name, position) for name in self.groups}

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The moments of every parameter that was moved, by its name."""
        states = {name: self._moved_by[param].state.get(param) for name, param in self.params.items()}
        return {name: dict(state) for name, state in states.items() if state}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on with the moments of a `state_dict`, in whichever order it names them. Raises Misfit where they do not fit."""
        for name, moments in state.items():
            if name not in self.params:
                raise Misfit(f"it holds optimizer moments of `{name}`, which this model lacks; start from its weights with --init_from")
            check_form(moments, self._moments(self.params[name]), f"optimizer.{name}")
            if negative := [key for key in ("step", "exp_avg_sq") if key in moments and (moments[key] < 0).any()]:
                raise Misfit(f"optimizer.{name}.{negative[0]} is negative")
        for name, moments in state.items():
            param = self.params[name]
            self._moved_by[param].state[param] = {key: value.clone() for key, value in moments.items()}

    def _moments(self, param: Parameter) -> dict[str, Tensor]:
        """What its optimizer keeps of a parameter: names, shapes and types."""
        like = param.detach()
        if isinstance(self._moved_by[param], Muon):
            return {"momentum": like}
        return {"step": torch.zeros((), device=like.device), "exp_avg": like, "exp_avg_sq": like}

    def _factor(self, name: str, position: float) -> float:
        config = self.config
        steps = config.warmup_steps
        warmup = max(1, steps.get(name, 0) if isinstance(steps, dict) else steps)
        if position + 1 < warmup:
            return (position + 1) / warmup
        if config.schedule == "warmup_constant":
            return 1.0
        if config.schedule == "noam":
            return math.sqrt(warmup / (position + 1))
        progress = min(1.0, max(0.0, (position + 1 - warmup) / max(1.0, self.total_steps - warmup)))
        falling = (1 + math.cos(math.pi * progress)) / 2 if config.schedule == "warmup_cosine" else 1 - progress
        return config.final_lr + (1 - config.final_lr) * falling


def _param_groups(groups: Mapping[str, Sequence[Named]], left_out: set[int], decay: float, dims: Mapping[str, int]) -> list[dict[str, Any]]:
    """Per group its matrices, with decay, and its vectors, without; `dims` tells them apart by name."""
    param_groups = []
    for name, members in groups.items():
        params = [(dims[member] > 1, param) for member, param in members if id(param) not in left_out]
        matrices, vectors = ([param for is_matrix, param in params if is_matrix is kind] for kind in (True, False))
        for chosen, rate in ((matrices, decay), (vectors, 0.0)):
            if chosen:
                param_groups.append({"params": chosen, "weight_decay": rate, "name": name, "rate": 1.0})
    return param_groups


def clip_groups(
    groups: Sequence[tuple[str, Sequence[Parameter]]],
    limit: float,
    spread: Collection[Parameter] = (),
    group: Collectives | None = None,
) -> dict[str, float]:
    """Scale the gradients of each named part down to norm `limit`; returns the norms from before (nan or inf: left as they are).

    Parts are clipped apart, so that a head with a large gradient does not slow the backbone down. Of parameters `spread` over the processes
    of `group` the squares are summed over processes.
    """
    measured: list[tuple[str, list[Tensor], Tensor]] = []
    for name, parameters in groups:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None and parameter not in spread]
        apart = [parameter.grad for parameter in parameters if parameter.grad is not None and parameter in spread]
        if gradients or apart:
            norms = [torch.linalg.vector_norm(torch.stack(torch._foreach_norm(part))) for part in (gradients, apart) if part]
            if apart:
                norms[-1] = group.all_reduce(norms[-1].square()).sqrt()
            measured.append((name, gradients + apart, norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))))
    if not measured:
        return {}
    values = torch.stack([norm for _, _, norm in measured]).tolist()  # the only wait for the device
    for (_, gradients, _), norm in zip(measured, values, strict=True):
        if math.isfinite(norm) and norm > limit:
            torch._foreach_mul_(gradients, limit / norm)
    return {name: norm for (name, _, _), norm in zip(measured, values, strict=True)}
