"""Inner products of gradients."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = {"cpu": 1 << 16, "cuda": 1 << 20}  # columns whose products are summed before the next ones are read: few kernels, in the cache
Pair = tuple[Hashable, Hashable]  # the names of two gradients


def inner_products(gradients: Mapping[Hashable, Tensor], pairs: Sequence[Pair], groups: Sequence[slice]) -> Tensor:
    """Inner products (len(groups), len(pairs)) of pairs of gradients (P,), within each group of columns.

    A gradient that `gradients` does not hold is 0. Products and sums are float64 on the gradients' device, whatever autocast or TF32 say;
    every gradient is read once, every pair multiplied once.
    """
    names = [name for name in dict.fromkeys(name for pair in pairs for name in pair) if name in gradients]
    total = torch.zeros(len(groups), len(pairs), dtype=torch.float64, device=next((gradients[name].device for name in names), None))
    number = {name: index for index, name in enumerate(names)}
    present = [(index, number[a], number[b]) for index, (a, b) in enumerate(pairs) if a in number and b in number]
    if not present:
        return total
    vectors = [gradients[name] for name in names]
    multiply = _by_matrix(present, total.device) if total.is_cuda else _by_dots(present)
    width = min(CHUNK[total.device.type], len(vectors[0]))
    wide = torch.empty(len(vectors), width, dtype=torch.float64, device=total.device)
    for group, columns in zip(total, groups, strict=True):
        start, stop, _ = columns.indices(len(vectors[0]))
        for first in range(start, stop, width):
            count = min(width, stop - first)
            for row, vector in zip(wide, vectors, strict=True):
                row[:count].copy_(vector[first : first + count])
            multiply(wide[:, :count], group)
    return total


def _by_dots(pairs: Sequence[tuple[int, int, int]]):
    def add(rows: Tensor, total: Tensor) -> None:
        single = rows.unbind()
        for index, a, b in pairs:
            total[index] += torch.dot(single[a], single[b])  # faster than a flat matrix product on a CPU

    return add


def _by_matrix(pairs: Sequence[tuple[int, int, int]], device: torch.device):
    index, a, b = (torch.tensor(values, device=device) for values in zip(*pairs, strict=True))

    def add(rows: Tensor, total: Tensor) -> None:
        total.index_add_(0, index, (rows @ rows.T)[a, b])

    return add


@dataclass(frozen=True)
class Products:
    """Inner products by the names of the gradients: `values` (G, len(pairs)) float64 on the host, for each group of columns."""

    pairs: Sequence[Pair]
    values: Tensor

    def summed(self) -> Products:
        """The same over all columns."""
        return self if len(self.values) == 1 else Products(self.pairs, self.values.sum(0, keepdim=True))

    def matrix(self, left: Sequence[Hashable], right: Sequence[Hashable] | None = None) -> Tensor:
        """The Gramian (G, len(left), len(right)); `right` defaults to `left`. Pairs count in both orders."""
        index = {pair: number for number, pair in enumerate(self.pairs)} | {pair[::-1]: number for number, pair in enumerate(self.pairs)}
        right = left if right is None else right
        return self.values[:, [index[a, b] for a in left for b in right]].view(len(self.values), len(left), len(right))


def all_pairs(left: Sequence[Hashable], right: Sequence[Hashable] | None = None) -> list[Pair]:
    """The pairs that a Gramian of `left` and `right` needs, each once."""
    if right is None:
        return [(a, b) for number, a in enumerate(left) for b in left[number:]]
    return [(a, b) for a in left for b in right]
