"""Gradients of several losses with respect to the same parameters, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.moo.collectives import Collectives

ALIGNMENT = 16  # entries; every parameter starts on a 64-byte border, so that fused kernels stay on their fast path
CHUNK = {"cpu": 1 << 16, "cuda": 1 << 20}  # columns whose products are summed before the next ones are read: few kernels, in the cache
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
    """`rows` gradients of the same parameters as vectors (P,) that backward passes write into directly.

    P counts all parameters, each padded to a multiple of 16 entries that stay 0. A row is seen in the shape and memory layout of each
    parameter; a backward pass inside `accumulate_into(row)` adds to these views in place, while other parameters (heads) collect
    their own gradient as always. A row of zeros takes no memory until something is put into it, and none again after `zero`, so
    that a step's gradients are not there while its activations grow.

    Of several processes each works on its own equal part of the columns: `reduce` sums a row over processes, Gramians are the sums of
    everyone's part, `merge` writes this process's, and `gather` makes a row whole again (ZeRO's reduce-scatter and all-gather,
    Rajbhandari et al. 2020). So N vectors cost (N + 1) P elements instead of the 2 N P of N all-reduces.

    Args:
        params: parameters of one type (float32 or float64) on one device; frozen ones and repetitions are left out.
        rows: how many gradients to keep.
        group: the processes that hold the same parameters.

    Attributes:
        rows: how many gradients there may be at the same time.
        columns: length P of a row, which the number of processes divides.
        dtype, device: those of the parameters.
    """

    def __init__(self, params: Sequence[Parameter], rows: int, group: Collectives | None = None) -> None:
        self.group = group or Collectives()
        self.params = [param for param in dict.fromkeys(params) if param.requires_grad]
        kinds = {(param.dtype, param.device) for param in self.params}
        if len(kinds) != 1 or self.params[0].dtype not in (torch.float32, torch.float64):
            raise ValueError(f"gradient buffers need float32 or float64 parameters of one type on one device, not {kinds or 'none'}")
        ((self.dtype, self.device),) = kinds
        self._starts = [padded_size(self.params[:place]) for place in range(len(self.params))]
        self._strides = [torch.empty_like(param, device="meta").stride() for param in self.params]  # the same layout where it is dense
        self.size = padded_size(self.params)
        self.rows = rows
        self.columns = -(-self.size // (ALIGNMENT * self.group.world)) * ALIGNMENT * self.group.world  # equal parts, aligned as well
        ends = [start + param.numel() for start, param in zip(self._starts, self.params, strict=True)]
        self._gaps = list(zip(ends, [*self._starts[1:], self.columns], strict=True))  # columns that belong to no parameter
        self._own = self.group.part(self.columns)
        self._held: dict[int, Tensor] = {}  # rows that have memory
        self._reduced: set[int] = set()

    @property
    def bytes(self) -> int:
        """Memory of all rows together, the most that they take."""
        return self.rows * self.columns * self.dtype.itemsize

    def __str__(self) -> str:
        return f"gradient buffers: {self.rows} x {self.columns:,} {str(self.dtype).removeprefix('torch.')} = {self.bytes / 1e6:,.1f} MB"

    def row(self, number: int) -> Tensor:
        """A row (P,), which takes memory from now on."""
        if number not in self._held:
            self._held[number] = torch.zeros(self.columns, dtype=self.dtype, device=self.device)
        return self._held[number]

    def part(self, number: int) -> Tensor:
        """The columns (P / world,) of this process in a row; they hold sums over processes once it was reduced."""
        return self.row(number)[self._own]

    def zero(self, rows: Sequence[int]) -> None:
        """Set rows to 0 and let go of their memory."""
        for row in rows:
            self._held.pop(row, None)
            self._reduced.discard(row)

    @contextmanager
    def accumulate_into(self, row: int, copies: Mapping[Parameter, Tensor] | None = None) -> Iterator[None]:
        """Within the block, backward passes add the parameters' gradients to `row`; afterwards their .grad is None.

        A row of zeros gets its memory at the end of the block, when activations are free: the gradients that autograd has allocated
        are copied there. `copies` are leaves that stand in for parameters, in another type; what they collect is added as well.

        Raises RuntimeError if a gradient was put elsewhere: by create_graph=True, or by zero_grad() within where the row has memory.
        """
        self._own_alone(row)
        copies = copies or {}
        views = [None] * len(self.params) if row not in self._held else self._views(row)
        self._set_gradients(views)
        try:
            yield
            if row not in self._held:
                self._store(row, copies)
            elif any(param.grad is not view for param, view in zip(self.params, views, strict=True)):
                raise RuntimeError("a gradient was replaced instead of added to; no zero_grad() or create_graph within accumulate_into")
            else:
                for param, view in zip(self.params, views, strict=True):
                    if (copy := copies.get(param)) is not None and copy.grad is not None:
                        view.add_(copy.grad)
        finally:
            self._set_gradients([None] * len(self.params))
            for copy in copies.values():
                copy.grad = None

    def assign(self, row: int) -> None:
        """Make `row` the .grad of the parameters, for clipping and the optimizer; no copy."""
        self._set_gradients(self._views(row))

    def reduce(self, row: int) -> None:
        """Begin to sum a row over processes, while the next backward pass runs."""
        self._own_alone(row)
        self.group.reduce_scatter(self.row(row))
        self._reduced.add(row)

    def gather(self, row: int) -> None:
        """Begin to fill a row with everyone's part of it."""
        self.group.all_gather(self.row(row))

    def whole(self, part: Tensor) -> Tensor:
        """A copy (P,) of a row of which every process holds its `part`; the same for every number of processes."""
        copy = part.new_empty(self.columns)
        copy[self._own] = part
        self.group.all_gather(copy)
        self.group.wait()
        return copy[: self.size].clone()

    def own(self, row: Tensor) -> Tensor:
        """This process's part of what `whole` made."""
        return torch.nn.functional.pad(row, (0, self.columns - self.size))[self._own]

    def columns_of(self, params: Sequence[Parameter]) -> slice:
        """The columns of neighbouring parameters. Raises ValueError if others lie between them."""
        places = sorted(place for place, param in enumerate(self.params) if any(param is one for one in params))
        if not places or places != list(range(places[0], places[-1] + 1)):
            raise ValueError("the parameters of a group must be neighbours in the buffers")
        ends = [*self._starts[1:], self.columns]
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
        total = torch.zeros(len(groups), len(pairs), dtype=torch.float64, device=self.device)
        parts = {place: self.part(row) for place, row in enumerate(rows) if row in self._held}
        width = min(CHUNK[self.device.type], self._own.stop - self._own.start)
        wide = torch.zeros(len(rows), width, dtype=torch.float64, device=self.device)  # a row that is not held stays 0
        for number, columns in enumerate(groups):
            columns = self._within(columns)
            for start in range(columns.start, columns.stop, width):
                count = min(width, columns.stop - start)
                for place, part in parts.items():
                    wide[place, :count].copy_(part[start : start + count])
                total[number] += _products(wide[:, :count], pairs)
        self.group.all_reduce(total)
        return total[:, [pairs.index(pair) for pair in wanted]].view(len(groups), len(rows_a), len(rows_b))

    def finite(self, rows: Sequence[int]) -> list[bool]:
        """Whether rows hold finite numbers only."""
        self.group.wait()
        broken = torch.zeros(len(rows), dtype=torch.float64, device=self.device)
        for place, row in enumerate(rows):
            if row in self._held:
                broken[place] = ~torch.stack(self.part(row).aminmax()).isfinite().all()  # NaN passes through both
        return (self.group.all_reduce(broken) == 0).tolist()

    def merge(self, rows: Sequence[int], weights: Sequence[float] | Tensor, out_row: int, columns: slice = EVERYTHING) -> None:
        """Write sum_i weights[i] * row[rows[i]] to `out_row`, which may be one of the rows; weight 0 leaves its row out.

        With several processes: in this one's part of the columns.
        """
        self.group.wait()
        columns = self._within(columns)
        values = weights.tolist() if isinstance(weights, Tensor) else list(weights)
        terms = {row: weight for row, weight in zip(rows, values, strict=True) if weight != 0 and row in self._held}
        out = self.part(out_row)[columns]
        if out_row not in terms:
            out.zero_()
        elif (factor := terms.pop(out_row)) != 1:
            out.mul_(factor)
        for row, weight in terms.items():
            out.add_(self.part(row)[columns], alpha=weight)

    def _own_alone(self, row: int) -> None:
        """Where a row was summed before, set to 0 what others count, so that its next sum counts everything once."""
        if row in self._reduced:
            self.group.wait()
            for others in (slice(0, self._own.start), slice(self._own.stop, None)):
                self.row(row)[others].zero_()
            self._reduced.discard(row)

    def _views(self, row: int) -> list[Tensor]:
        """A row in the shapes of the parameters."""
        memory = self.row(row)
        return [
            memory.as_strided(param.shape, strides, start)
            for param, strides, start in zip(self.params, self._strides, self._starts, strict=True)
        ]

    def _store(self, row: int, copies: Mapping[Parameter, Tensor]) -> None:
        """Make a row of what autograd has put into .grad."""
        self._held[row] = torch.empty(self.columns, dtype=self.dtype, device=self.device)
        for param, view, (end, next_start) in zip(self.params, self._views(row), self._gaps, strict=True):
            found = [one.grad for one in (param, copies.get(param)) if one is not None and one.grad is not None]
            if any(gradient.requires_grad for gradient in found):
                raise RuntimeError("a gradient has a graph of its own; no create_graph within accumulate_into")
            if end < next_start:
                self._held[row][end:next_start] = 0.0
            if not found:
                view.zero_()
                continue
            view.copy_(found[0])
            for gradient in found[1:]:
                view.add_(gradient)

    def _set_gradients(self, gradients: Sequence[Tensor | None]) -> None:
        for param, gradient in zip(self.params, gradients, strict=True):
            param.grad = gradient

    def _within(self, columns: slice) -> slice:
        """Where columns of the whole lie in this process's part."""
        start, stop, _ = columns.indices(self.columns)
        low, high = self._own.start, self._own.stop
        return slice(min(max(start, low), high) - low, min(max(stop, low), high) - low)


def padded_size(params: Sequence[Parameter]) -> int:
    """Columns that the parameters take in the buffers, without the frozen ones."""
    return sum(-(-param.numel() // ALIGNMENT) * ALIGNMENT for param in params if param.requires_grad)


def _products(rows: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Inner products (len(pairs),) of pairs of rows (R, C)."""
    if rows.is_cuda:
        left, right = zip(*pairs, strict=True)
        return (rows @ rows.T)[list(left), list(right)]
    single = rows.unbind()
    return torch.stack([torch.dot(single[left], single[right]) for left, right in pairs])  # faster than a flat matrix product on a CPU
