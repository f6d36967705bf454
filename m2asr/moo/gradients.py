"""Gradients of several losses with respect to the same parameters, in memory that is allocated once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.moo.collectives import Collectives

ALIGNMENT = 16  # entries; every parameter starts on a 64-byte border, so that fused kernels stay on their fast path
CHUNK = 1 << 16  # columns whose products are summed before the next ones are read
EVERYTHING = slice(None)


def scale_gradient(x: Tensor, factor: float | Tensor) -> Tensor:
    """`x` itself going forward; going backward its gradient times `factor`.

    Put between a shared network and a head, it weights the head's loss for the network only, so one backward pass serves
    both. `factor` is a number or a tensor that broadcasts over x, without gradient; the number 0 gives exact zeros.
    """
    return _ScaleGradient.apply(x, factor)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: float | Tensor) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        if isinstance(ctx.factor, Tensor):
            return gradient * ctx.factor.to(gradient), None
        return (gradient * ctx.factor if ctx.factor != 0 else torch.zeros_like(gradient)), None


class GradientBuffers:
    """`rows` gradients of the same parameters as one matrix (rows, P) that backward passes write into directly.

    P counts all parameters, each padded to a multiple of 16 entries that stay 0. Every row has a view in the shape and memory
    layout of each parameter; a backward pass inside `accumulate_into(row)` adds to these views in place, while other
    parameters (heads) collect their own gradient as always.

    Of several processes each works on its own equal part of the columns: `reduce` sums a row over processes, Gramians are the sums of
    everyone's part, `merge` writes this process's, and `gather` makes a row whole again (ZeRO's reduce-scatter and all-gather,
    Rajbhandari et al. 2020). So N vectors cost (N + 1) P elements instead of the 2 N P of N all-reduces.

    Args:
        params: parameters of one type (float32 or float64) on one device; frozen ones and repetitions are left out.
        rows: how many gradients to keep.
        group: the processes that hold the same parameters.

    Attributes:
        flat: the matrix (rows, P), of the parameters' type and on their device.
        part: the columns (rows, P / world) of this process; in a row, they hold sums over processes once it was reduced.
    """

    def __init__(self, params: Sequence[Parameter], rows: int, group: Collectives | None = None) -> None:
        self.group = group or Collectives()
        self.params = [param for param in dict.fromkeys(params) if param.requires_grad]
        kinds = {(param.dtype, param.device) for param in self.params}
        if len(kinds) != 1 or self.params[0].dtype not in (torch.float32, torch.float64):
            raise ValueError(f"gradient buffers need float32 or float64 parameters of one type on one device, not {kinds or 'none'}")
        self._starts = [padded_size(self.params[:place]) for place in range(len(self.params))]
        self.size = padded_size(self.params)
        columns = -(-self.size // (ALIGNMENT * self.group.world)) * ALIGNMENT * self.group.world  # equal parts, aligned as well
        self.flat = torch.zeros(rows, columns, dtype=self.params[0].dtype, device=self.params[0].device)
        self._own = self.group.part(columns)
        self.part = self.flat[:, self._own]
        self._reduced: set[int] = set()
        self._views = [[_like(param, row[start:]) for param, start in zip(self.params, self._starts, strict=True)] for row in self.flat]

    @property
    def bytes(self) -> int:
        """Memory of the matrix."""
        return self.flat.nbytes

    def __str__(self) -> str:
        rows, size = self.flat.shape
        return f"gradient buffers: {rows} x {size:,} {str(self.flat.dtype).removeprefix('torch.')} = {self.bytes / 1e6:,.1f} MB"

    def zero(self, rows: Sequence[int] | None = None) -> None:
        """Set some rows, or all, to 0."""
        for row in range(len(self.flat)) if rows is None else rows:
            self.flat[row].zero_()
            self._reduced.discard(row)

    @contextmanager
    def accumulate_into(self, row: int) -> Iterator[None]:
        """Within the block, backward passes add the parameters' gradients to `row`; afterwards their .grad is None.

        Raises RuntimeError if a gradient was put elsewhere, e.g. by zero_grad() inside the block or create_graph=True.
        """
        if row in self._reduced:  # what was summed must be counted once when more is added and summed
            self.group.wait()
            for others in (slice(0, self._own.start), slice(self._own.stop, None)):
                self.flat[row, others].zero_()
            self._reduced.discard(row)
        self.assign(row)
        try:
            yield
            if any(param.grad is not view for param, view in zip(self.params, self._views[row], strict=True)):
                raise RuntimeError("a gradient was replaced instead of added to; no zero_grad() or create_graph within accumulate_into")
        finally:
            for param in self.params:
                param.grad = None

    def assign(self, row: int) -> None:
        """Make `row` the .grad of the parameters, for clipping and the optimizer; no copy."""
        for param, view in zip(self.params, self._views[row], strict=True):
            param.grad = view

    def reduce(self, row: int) -> None:
        """Begin to sum a row over processes, while the next backward pass runs."""
        self.group.reduce_scatter(self.flat[row])
        self._reduced.add(row)

    def gather(self, row: int) -> None:
        """Begin to fill a row with everyone's part of it."""
        self.group.all_gather(self.flat[row])

    def whole(self, part: Tensor) -> Tensor:
        """A copy (P,) of a row of which every process holds its `part`; the same for every number of processes."""
        copy = self.flat.new_empty(self.flat.shape[1])
        copy[self._own] = part
        self.group.all_gather(copy)
        self.group.wait()
        return copy[: self.size].clone()

    def own(self, row: Tensor) -> Tensor:
        """This process's part of what `whole` made."""
        return torch.nn.functional.pad(row, (0, self.flat.shape[1] - self.size))[self._own]

    def columns(self, params: Sequence[Parameter]) -> slice:
        """The columns of neighbouring parameters. Raises ValueError if others lie between them."""
        places = sorted(place for place, param in enumerate(self.params) if any(param is one for one in params))
        if not places or places != list(range(places[0], places[-1] + 1)):
            raise ValueError("the parameters of a group must be neighbours in the buffers")
        ends = [*self._starts[1:], self.flat.shape[1]]
        return slice(self._starts[places[0]], ends[places[-1]])

    def gramian(self, rows_a: Sequence[int], rows_b: Sequence[int] | None = None) -> Tensor:
        """Inner products (len(rows_a), len(rows_b)) of rows, float64 on the buffers' device; `rows_b` defaults to `rows_a`."""
        return self.gramians(rows_a, rows_b, [EVERYTHING])[0]

    def gramians(self, rows_a: Sequence[int], rows_b: Sequence[int] | None, groups: Sequence[slice]) -> Tensor:
        """Inner products of rows within each group of columns (len(groups), len(rows_a), len(rows_b)).

        Products and sums are float64, whatever autocast or TF32 say; every row is read once, every pair multiplied once.
        """
        rows_b = rows_a if rows_b is None else rows_b
        rows = list(dict.fromkeys([*rows_a, *rows_b]))
        place_of = {row: place for place, row in enumerate(rows)}
        wanted = [tuple(sorted((place_of[a], place_of[b]))) for a in rows_a for b in rows_b]
        pairs = list(dict.fromkeys(wanted))
        self.group.wait()
        total = torch.zeros(len(groups), len(pairs), dtype=torch.float64, device=self.flat.device)
        for place, columns in enumerate(groups):
            for chunk in self.part[:, self._within(columns)].split(CHUNK, dim=1):
                total[place] += _products(chunk[_slice(rows)].double(), pairs)
        self.group.all_reduce(total)
        return total[:, [pairs.index(pair) for pair in wanted]].view(len(groups), len(rows_a), len(rows_b))

    def finite(self, rows: Sequence[int]) -> list[bool]:
        """Whether rows hold finite numbers only."""
        self.group.wait()
        ends = torch.stack([torch.stack(self.part[row].aminmax()) for row in rows])  # NaN passes through both
        broken = (~ends.isfinite()).any(dim=1).double()
        return (self.group.all_reduce(broken) == 0).tolist()

    def merge(self, rows: Sequence[int], weights: Sequence[float] | Tensor, out_row: int, columns: slice = EVERYTHING) -> None:
        """Write sum_i weights[i] * row[rows[i]] to `out_row`, which may be one of the rows; weight 0 leaves its row out.

        With several processes: in this one's part of the columns.
        """
        self.group.wait()
        columns = self._within(columns)
        values = weights.tolist() if isinstance(weights, Tensor) else list(weights)
        terms = {row: weight for row, weight in zip(rows, values, strict=True) if weight != 0}
        out = self.part[out_row, columns]
        if out_row in terms:
            out.mul_(terms.pop(out_row))
        else:
            out.zero_()
        for row, weight in terms.items():
            out.add_(self.part[row, columns], alpha=weight)

    def _within(self, columns: slice) -> slice:
        """Where columns of the whole lie in this process's part."""
        start, stop, _ = columns.indices(self.flat.shape[1])
        low, high = self._own.start, self._own.stop
        return slice(min(max(start, low), high) - low, min(max(stop, low), high) - low)


def padded_size(params: Sequence[Parameter]) -> int:
    """Columns that the parameters take in the buffers, without the frozen ones."""
    return sum(-(-param.numel() // ALIGNMENT) * ALIGNMENT for param in params if param.requires_grad)


def _like(param: Parameter, row: Tensor) -> Tensor:
    """The beginning of `row` seen in the shape and, where it is dense, the memory layout of `param`."""
    strides = torch.empty_like(param, device="meta").stride()
    return row.as_strided(param.shape, strides, row.storage_offset())


def _slice(rows: Sequence[int]) -> slice | list[int]:
    """Neighbouring rows as a slice, which copies nothing."""
    first, last = rows[0], rows[-1] + 1
    return slice(first, last) if list(rows) == list(range(first, last)) else list(rows)


def _products(rows: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Inner products (len(pairs),) of pairs of rows (R, C)."""
    if rows.is_cuda:
        left, right = zip(*pairs, strict=True)
        return (rows @ rows.T)[list(left), list(right)]
    return torch.stack([torch.dot(rows[left], rows[right]) for left, right in pairs])  # a flat matrix product is slow on a CPU
