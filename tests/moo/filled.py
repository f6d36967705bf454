"""Gradient rows with given numbers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from m2asr.moo.gramian import Products, all_pairs
from m2asr.moo.rows import ALL, GradientRows


def fill(rows: GradientRows, values: Tensor, names: Sequence[Hashable]) -> None:
    """Write values (N, P), without padding, into the rows of these names."""
    for name, value in zip(names, values, strict=True):
        rows.row(name)[: values.shape[1]] = value


def noise(rows: GradientRows, count: int) -> Tensor:
    """Fill rows 0, 1, ... with noise; returns a copy (N, P)."""
    fill(rows, torch.randn(count, rows.layout.columns, generator=torch.Generator().manual_seed(0)), range(count))
    return torch.stack([rows.row(number) for number in range(count)])


def gramian(
    rows: GradientRows, left: Sequence[Hashable], right: Sequence[Hashable] | None = None, groups: Sequence[slice] = (ALL,)
) -> Tensor:
    """Inner products (G, len(left), len(right)) of rows, as a step computes them in a single process."""
    pairs = all_pairs(left, right)
    return Products(pairs, rows.inner_products(pairs, groups)).matrix(left, right)
