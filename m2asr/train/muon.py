"""Muon: momentum whose matrices are made orthogonal before each update, many matrices of one shape at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.moo.collectives import Collectives

A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic iteration (Jordan et al. 2024), steepest for small singular values
EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized by `steps` Newton-Schulz iterations, for matrices inside a network (Jordan et al. 2024).

    Every update of a matrix (M, N) is scaled to the root mean square that AdamW's have, .2 sqrt(max(M, N)) (Liu et al. 2025, Muon is
    Scalable, equation 4), so that one learning rate and one weight decay serve both. The length of a gradient does not matter.

    The same algorithm as torch.optim.Muon with adjust_lr_fn "match_rms_adamw"; here matrices of one shape, or of its transpose, are
    multiplied together. A parameter (E, M, N) is E matrices. Products are taken in `dtype`; float64 matrices keep their own.

    Of several processes, a `group`, each orthogonalizes its share of the matrices, and all get the whole updates: a step costs each of them
    1 / world of the products. Parameters `spread` over the processes are different ones in each, and are not shared.
    """

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        steps: int = 3,
        dtype: torch.dtype = torch.bfloat16,
        group: Collectives | None = None,
        spread: Collection[Parameter] = (),
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "steps": steps})
        self.dtype, self.group, self.spread = dtype, group or Collectives(), frozenset(spread)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the matrices that have a gradient."""
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if not params:
                continue
            averages = [self._average(param) for param in params]
            gradients = [param.grad for param in params]
            torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, averages, group["momentum"])  # Nesterov's look ahead
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            for members in self._alike(params):
                stack = torch.cat([_lying(ahead[index], self.dtype) for index in members])  # (K, M, N)
                here = self.group if params[members[0]] not in self.spread else Collectives()
                updates = shared(stack, group["steps"], here).split([ahead[index][..., 0, 0].numel() for index in members])
                scale = -0.2 * group["lr"] * max(stack.shape[1:]) ** 0.5
                for index, update in zip(members, updates, strict=True):
                    param = params[index]
                    update = update if param.shape[-2] <= param.shape[-1] else update.mT
                    param.add_(update.reshape(param.shape).to(param.dtype), alpha=scale)

    def _average(self, param: Parameter) -> Tensor:
        state = self.state[param]
        if not state:
            state["momentum"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state["momentum"]

    def _alike(self, params: Sequence[Parameter]) -> list[list[int]]:
        """The indices of parameters whose matrices have one shape, or its transpose, those of spread ones apart."""
        groups: dict[tuple, list[int]] = {}
        for index, param in enumerate(params):
            groups.setdefault((*sorted(param.shape[-2:]), param.dtype, param in self.spread), []).append(index)
        return list(groups.values())


def orthogonalize(matrices: Tensor, steps: int) -> Tensor:
    """Matrices (K, M, N), M <= N, with singular values near 1 and the same singular vectors: between .7 and 1.2 after 5 steps."""
    x = matrices / torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    for _ in range(steps):
        gramian = x @ x.mT  # (K, M, M)
        polynomial = torch.baddbmm(gramian, gramian, gramian, beta=B, alpha=C)
        x = torch.baddbmm(x, polynomial, x, beta=A)
    return x


def shared(matrices: Tensor, steps: int, group: Collectives) -> Tensor:
    """`orthogonalize` of matrices (K, M, N) that all processes of a group hold, each of which computes its share."""
    if group.world == 1:
        return orthogonalize(matrices, steps)
    count = -(-len(matrices) // group.world)  # of each process; the last ones may have fewer, or none
    updates = matrices.new_zeros(group.world * count, *matrices.shape[1:])
    share = matrices[group.rank * count : (group.rank + 1) * count]
    if len(share):
        updates[group.rank * count :][: len(share)] = orthogonalize(share, steps)
    group.all_gather(updates.view(-1))
    group.wait()
    return updates[: len(matrices)]


def _lying(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """A matrix, or matrices along the first dimension, as (K, M, N) with M <= N, for products in `dtype`."""
    matrices = matrices.view(-1, *matrices.shape[-2:])
    matrices = matrices if matrices.dtype == torch.float64 else matrices.to(dtype)
    return matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
