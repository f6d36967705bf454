"""The core of a mixture of experts: a feed-forward network per expert, applied to rows that are sorted by their expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from m2asr.models.layers import Dropout

# On a CPU oneDNN, which multiplies bfloat16, prepares a kernel for every new number of rows, and experts have other numbers in every batch.
ALIGNMENT = {torch.bfloat16: 16}


def grouped_feed_forward(
    x: Tensor, experts: Tensor, wide: Tensor, wide_bias: Tensor, narrow: Tensor, narrow_bias: Tensor, dropout: Dropout
) -> Tensor:
    """narrow_e(dropout(silu(wide_e(x)))) (N, D) of every row and its expert e; 0 for a row that no expert takes.

    Under autocast the tensors are cast as F.linear casts them. There is no second derivative.

    Args:
        x: rows (N, D).
        experts: the expert of every row (N,), int64; E, the number of experts, for a row that none takes.
        wide, wide_bias: the first linear layer of every expert, (E, H, D) and (E, H).
        narrow, narrow_bias: the second one, (E, D, H) and (E, D).
        dropout: applied between the two.

    Raises ValueError for sizes that do not fit.
    """
    count, hidden, dim = wide.shape
    sizes = [tuple(tensor.shape) for tensor in (x, wide, wide_bias, narrow, narrow_bias)]
    if sizes != [(len(experts), dim), (count, hidden, dim), (count, hidden), (count, dim, hidden), (count, dim)]:
        raise ValueError(f"rows and weights of sizes {sizes} do not fit {len(experts)} rows with an expert each")
    device = x.device.type
    tensors = [x, wide, wide_bias, narrow, narrow_bias]
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        tensors = [tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors]
    x, *weights = tensors
    with torch.autocast(device, enabled=False):
        if device == "cuda" and x.dtype == torch.bfloat16 and all(size % 8 == 0 for size in wide.shape[1:]):
            return by_grouped_mm(x, experts, *weights, dropout)
        return _GroupedFeedForward.apply(x, experts, *weights, dropout)


def by_grouped_mm(
    x: Tensor, experts: Tensor, wide: Tensor, wide_bias: Tensor, narrow: Tensor, narrow_bias: Tensor, dropout: Dropout
) -> Tensor:
    """The same by torch's grouped product, for a GPU: the host never waits for the numbers of rows."""
    none = (experts == len(wide))[:, None]  # (N, 1)
    experts = experts.clamp(max=len(wide) - 1)  # rows without an expert go to the last one, as zeros
    order = experts.argsort(stable=True)  # (N,)
    one_hot = experts[order, None] == torch.arange(len(wide), device=x.device)  # (N, E)
    ends = one_hot.sum(0).cumsum(0).to(torch.int32)  # (E,); torch.bincount would make the host wait
    one_hot = one_hot.to(x.dtype)  # its products spread biases over rows, and add up their gradients in float32
    rows = x.masked_fill(none, 0).index_select(0, order)  # (N, D)
    hidden = dropout(F.silu(F.grouped_mm(rows, wide.transpose(1, 2), offs=ends) + one_hot @ wide_bias))  # (N, H)
    output = F.grouped_mm(hidden, narrow.transpose(1, 2), offs=ends) + one_hot @ narrow_bias  # (N, D)
    return torch.empty_like(output).index_copy(0, order, output).masked_fill(none, 0)


@dataclass(frozen=True)
class Segments:
    """Where rows lie once sorted by their expert.

    sizes: slots of every expert, a multiple of the alignment, and at last the number of rows without an expert; slots: that of every row
    (N,).
    """

    sizes: list[int]
    slots: Tensor

    @classmethod
    def of(cls, experts: Tensor, count: int, alignment: int) -> Segments:
        """The segments of rows with these experts (N,); there are `count` experts."""
        numbers = experts.cpu().numpy()
        rows = np.bincount(numbers, minlength=count + 1)  # (E + 1,)
        if len(rows) > count + 1:
            raise ValueError(f"a row of expert {len(rows) - 1}, but there are {count} experts")
        sizes = np.append(-(-rows[:count] // alignment) * alignment, rows[count])
        shifts = (sizes.cumsum() - sizes) - (rows.cumsum() - rows)  # (E + 1,) the free slots before
        slots = np.empty(len(numbers), np.int64)
        order = numbers.astype(np.min_scalar_type(count)).argsort(kind="stable")  # short integers are sorted in linear time
        slots[order] = np.arange(len(numbers)) + shifts.repeat(rows)
        return cls(sizes.tolist(), torch.from_numpy(slots).to(experts.device))

    def sort(self, rows: Tensor) -> Tensor:
        """Rows (N, D) in their slots (P, D), zeros in free ones."""
        return rows.new_zeros(sum(self.sizes), rows.shape[1]).index_copy_(0, self.slots, rows)

    def unsort(self, rows: Tensor) -> Tensor:
        """The rows (N, D) out of their slots (P, D), zeros for those without an expert."""
        rows[len(rows) - self.sizes[-1] :] = 0
        return rows.index_select(0, self.slots)

    def split(self, rows: Tensor) -> Sequence[Tensor]:
        """The slots (n, D) of every expert."""
        return rows.split(self.sizes)[:-1]


class _GroupedFeedForward(torch.autograd.Function):
    """Expert by expert, so that the hidden layer of one stays in the caches, into slices of whole tensors.

    Left to autograd, the weights' gradient of every expert would be one of all experts, full of zeros. An expert without rows needs no
    care: a sum over none is 0.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        experts: Tensor,
        wide: Tensor,
        wide_bias: Tensor,
        narrow: Tensor,
        narrow_bias: Tensor,
        dropout: Dropout,
    ) -> Tensor:
        segments = Segments.of(experts, len(wide), ALIGNMENT.get(x.dtype, 1))
        rows = segments.sort(x)  # (P, D)
        output = torch.empty_like(rows)
        before = x.new_empty(len(rows), wide.shape[1])  # (P, H) before the activation
        hidden = torch.empty_like(before)
        keep = dropout.keep(hidden) if dropout.active else None
        ctx.segments, ctx.scale = segments, dropout.scale if dropout.active else 1.0
        parts = zip(
            *(segments.split(table) for table in (rows, before, hidden, hidden if keep is None else keep, output)),
            *(wide, wide_bias, narrow, narrow_bias),
            strict=True,
        )
        for rows_e, before_e, hidden_e, keep_e, output_e, wide_e, wide_bias_e, narrow_e, narrow_bias_e in parts:
            torch.addmm(wide_bias_e, rows_e, wide_e.T, out=before_e)
            torch.ops.aten.silu.out(before_e, out=hidden_e)
            if keep is not None:
                hidden_e.mul_(keep_e)
            torch.addmm(narrow_bias_e, hidden_e, narrow_e.T, alpha=ctx.scale, out=output_e)
        ctx.save_for_backward(rows, before, hidden, keep, wide, narrow)
        return segments.unsort(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, before, hidden, keep, wide, narrow = ctx.saved_tensors
        segments: Segments = ctx.segments
        of_output, of_rows = segments.sort(gradient), torch.empty_like(rows)  # (P, D)
        of_wide, of_narrow = torch.empty_like(wide), torch.empty_like(narrow)
        of_wide_bias, of_narrow_bias = wide.new_empty(wide.shape[:2]), narrow.new_empty(narrow.shape[:2])
        parts = zip(
            *(segments.split(table) for table in (rows, before, hidden, hidden if keep is None else keep, of_output, of_rows)),
            *(wide, narrow, of_wide, of_wide_bias, of_narrow, of_narrow_bias),
            strict=True,
        )
        for rows_e, before_e, hidden_e, keep_e, of_output_e, of_rows_e, wide_e, narrow_e, *sums in parts:
            of_wide_e, of_wide_bias_e, of_narrow_e, of_narrow_bias_e = sums
            torch.sum(of_output_e, 0, out=of_narrow_bias_e)
            of_output_e.mul_(ctx.scale)
            torch.mm(of_output_e.T.contiguous(), hidden_e, out=of_narrow_e)  # oneDNN takes twice the time for the transposed one
            of_hidden_e = of_output_e @ narrow_e  # (n, H)
            if keep is not None:
                of_hidden_e.mul_(keep_e)
            torch.ops.aten.silu_backward.grad_input(of_hidden_e, before_e, grad_input=of_hidden_e)
            torch.sum(of_hidden_e, 0, out=of_wide_bias_e)
            torch.mm(of_hidden_e.T, rows_e, out=of_wide_e)
            torch.mm(of_hidden_e, wide_e, out=of_rows_e)
        return segments.unsort(of_rows), None, of_wide, of_wide_bias, of_narrow, of_narrow_bias, None
