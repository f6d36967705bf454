"""Gradient buffers with given rows."""

from __future__ import annotations

import torch
from torch import Tensor

from m2asr.moo.gradients import GradientBuffers


def fill(buffers: GradientBuffers, rows: Tensor, first: int = 0) -> None:
    """Write rows (N, P), without padding, from row `first` on."""
    for number, row in enumerate(rows, first):
        buffers.row(number)[: rows.shape[1]] = row


def noise(buffers: GradientBuffers) -> Tensor:
    """Fill all rows with noise; returns a copy (N, P)."""
    fill(buffers, torch.randn(buffers.rows, buffers.columns, generator=torch.Generator().manual_seed(0)))
    return held(buffers)


def held(buffers: GradientBuffers) -> Tensor:
    """A copy of all rows (N, P)."""
    return torch.stack([buffers.row(number) for number in range(buffers.rows)])
