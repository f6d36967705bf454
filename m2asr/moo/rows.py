"""Gradients of several losses with respect to the same parameters, side by side."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.moo.collectives import Collectives
from m2asr.moo.gramian import Pair, inner_products
from m2asr.moo.layout import Layout
from m2asr.moo.shard import Shard

ALL = slice(None)  # columns


class GradientRows:
    """Gradients of the same parameters as vectors (P,), each under a name, that backward passes write into directly.

    A backward pass inside `accumulate_into(name)` adds the parameters' gradients to that row in place, while other parameters (heads)
    collect their own gradient as always. A row takes memory from when something is put into it until `drop`, so that a step's gradients
    are not there while its activations grow. A row without memory counts as zeros.

    Of several processes each works on its own part of the columns: `reduce` sums a row over processes, `inner_products` are those of
    the part, `merge` writes the part, and `gather` makes a row whole again.

    Args:
        params: parameters of one type (float32 or float64) on one device; frozen ones and repetitions are left out.
        group: the processes that hold the same parameters.
    """

    def __init__(self, params: Sequence[Parameter], group: Collectives | None = None) -> None:
        self.group = group or Collectives()
        self.layout = Layout(params, self.group.world)
        self.shard = Shard(self.layout, self.group)
        self._held: dict[Hashable, Tensor] = {}
        self._reduced: set[Hashable] = set()

    def __contains__(self, name: Hashable) -> bool:
        return name in self._held

    def row(self, name: Hashable) -> Tensor:
        """A row (P,), which takes memory from now on."""
        if name not in self._held:
            self._held[name] = torch.zeros(self.layout.columns, dtype=self.layout.dtype, device=self.layout.device)
        return self._held[name]

    def part(self, name: Hashable) -> Tensor:
        """The columns (P / world,) of this process in a row; they hold sums over processes once it was reduced."""
        return self.shard.of(self.row(name))

    def drop(self, names: Iterable[Hashable]) -> None:
        """Set rows to 0 and let go of their memory."""
        for name in names:
            self._held.pop(name, None)
            self._reduced.discard(name)

    def keep(self, names: Collection[Hashable]) -> None:
        """Drop all rows but these."""
        self.drop([name for name in self._held if name not in names])

    @contextmanager
    def accumulate_into(self, name: Hashable, copies: Mapping[Parameter, Tensor] | None = None) -> Iterator[None]:
        """Within the block, backward passes add the parameters' gradients to a row; afterwards their .grad is None.

        A new row gets its memory at the end of the block, when activations are free: the gradients that autograd has allocated are copied
        there. `copies` are leaves that stand in for parameters, in another type; what they collect is added as well.

        Raises RuntimeError if a gradient was put elsewhere: by create_graph=True, or by zero_grad() within where the row has memory.
        """
        self._count_own_alone(name)
        copies, params = copies or {}, self.layout.params
        views = [None] * len(params) if name not in self._held else self.layout.views(self._held[name])
        self._set_gradients(views)
        try:
            yield
            if name not in self._held:
                self._store(name, copies)
            elif any(param.grad is not view for param, view in zip(params, views, strict=True)):
                raise RuntimeError("a gradient was replaced instead of added to; no zero_grad() or create_graph within accumulate_into")
            else:
                for param, view in zip(params, views, strict=True):
                    if (copy := copies.get(param)) is not None and copy.grad is not None:
                        view.add_(copy.grad)
        finally:
            self._set_gradients([None] * len(params))
            for copy in copies.values():
                copy.grad = None

    def assign(self, name: Hashable) -> None:
        """Make a row the .grad of the parameters, for clipping and the optimizer; no copy."""
        self._set_gradients(self.layout.views(self.row(name)))

    def reduce(self, name: Hashable) -> None:
        """Begin to sum a row over processes, while the next backward pass runs."""
        self._count_own_alone(name)
        empty = name not in self._held
        self.group.reduce_scatter(self.row(name), empty)
        self._reduced.add(name)

    def gather(self, name: Hashable) -> None:
        """Begin to fill a row with the part of every process."""
        self.group.all_gather(self.row(name))

    def inner_products(self, pairs: Sequence[Pair], groups: Sequence[slice] = (ALL,)) -> Tensor:
        """Inner products (len(groups), len(pairs)) of this process's part of rows, on their device; to be summed over processes."""
        self.group.wait()
        parts = {name: self.part(name) for name in {name for pair in pairs for name in pair} if name in self._held}
        products = inner_products(parts, pairs, [self.shard.within(columns) for columns in groups])
        return products.to(self.layout.device)

    def merge(self, terms: Mapping[Hashable, float], into: Hashable, columns: slice = ALL) -> None:
        """Add sum_i terms[i] * row i to the row `into`, in this process's part of the columns; a factor of 0 leaves its row out."""
        self.group.wait()
        columns = self.shard.within(columns)
        total = self.part(into)[columns]
        for name, factor in terms.items():
            if factor != 0 and name in self._held:
                total.add_(self.part(name)[columns], alpha=factor)

    def _count_own_alone(self, name: Hashable) -> None:
        """Where a row was summed before, set to 0 the columns of the other processes, so that its next sum counts every column once."""
        if name in self._reduced:
            self.group.wait()
            self.shard.zero_others(self._held[name])
            self._reduced.discard(name)

    def _store(self, name: Hashable, copies: Mapping[Parameter, Tensor]) -> None:
        """Make a row of what autograd has put into .grad."""
        row = torch.empty(self.layout.columns, dtype=self.layout.dtype, device=self.layout.device)
        for param, view, (end, next_start) in zip(self.layout.params, self.layout.views(row), self.layout.gaps, strict=True):
            gradients = [leaf.grad for leaf in (param, copies.get(param)) if leaf is not None and leaf.grad is not None]
            if any(gradient.requires_grad for gradient in gradients):
                raise RuntimeError("a gradient has a graph of its own; no create_graph within accumulate_into")
            if end < next_start:
                row[end:next_start] = 0.0
            if not gradients:
                view.zero_()
                continue
            view.copy_(gradients[0])
            for gradient in gradients[1:]:
                view.add_(gradient)
        self._held[name] = row

    def _set_gradients(self, gradients: Sequence[Tensor | None]) -> None:
        for param, gradient in zip(self.layout.params, gradients, strict=True):
            param.grad = gradient
