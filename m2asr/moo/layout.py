"""The columns of every parameter in a vector that holds all parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

ALIGNMENT = 16  # entries; every parameter starts on a 64-byte border, so that fused kernels stay on their fast path


class Layout:
    """The columns of a vector (P,) that holds all parameters, each padded to a multiple of 16 entries.

    P is a multiple of 16 `world`, so that `world` processes have equal and aligned parts.

    Args:
        params: parameters of one type (float32 or float64) on one device; frozen ones and repetitions are left out.
        world: the number of processes that share a vector.

    Attributes:
        params: the trained parameters, in the order of their columns.
        columns: the length P.
        size: P without what `world` adds.
        gaps: columns (start, end) that belong to no parameter, one pair after each parameter.
        dtype, device: those of the parameters.
    """

    def __init__(self, params: Sequence[Parameter], world: int = 1) -> None:
        self.params = [param for param in dict.fromkeys(params) if param.requires_grad]
        kinds = {(param.dtype, param.device) for param in self.params}
        if len(kinds) != 1 or self.params[0].dtype not in (torch.float32, torch.float64):
            raise ValueError(f"gradients need float32 or float64 parameters of one type on one device, not {kinds or 'none'}")
        ((self.dtype, self.device),) = kinds
        self.size = padded_size(self.params)
        self.columns = -(-self.size // (ALIGNMENT * world)) * ALIGNMENT * world
        self._starts = [padded_size(self.params[:number]) for number in range(len(self.params))]
        self._strides = [torch.empty_like(param, device="meta").stride() for param in self.params]  # the same layout where it is dense
        ends = [start + param.numel() for start, param in zip(self._starts, self.params, strict=True)]
        self.gaps = list(zip(ends, [*self._starts[1:], self.columns], strict=True))

    def views(self, vector: Tensor) -> list[Tensor]:
        """A vector (P,) in the shapes and memory layouts of the parameters."""
        return [
            vector.as_strided(param.shape, strides, start)
            for param, strides, start in zip(self.params, self._strides, self._starts, strict=True)
        ]

    def columns_of(self, params: Sequence[Parameter]) -> slice:
        """The columns of neighbouring parameters. Raises ValueError if others lie between them."""
        wanted = {id(param) for param in params}
        numbers = [number for number, param in enumerate(self.params) if id(param) in wanted]
        if not numbers or numbers != list(range(numbers[0], numbers[-1] + 1)):
            raise ValueError("the parameters of a group must be neighbours in the vector")
        return slice(self._starts[numbers[0]], [*self._starts[1:], self.columns][numbers[-1]])


def padded_size(params: Sequence[Parameter]) -> int:
    """The columns that parameters take, without the frozen ones."""
    return sum(-(-param.numel() // ALIGNMENT) * ALIGNMENT for param in params if param.requires_grad)
