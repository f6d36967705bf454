"""How a batch is encoded: whole or cut, with or without gradient; equal views of a batch are encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """One of two pieces of an utterance, in frames: `context`, then `gap` frames that belong to neither, then `future`."""

    context: int
    gap: int
    future: int
    piece: Literal["context", "future"]

    @property
    def total(self) -> int:
        return self.context + self.gap + self.future


@dataclass(frozen=True)
class View:
    """A way of encoding a batch: which piece, in training mode or not, with a gradient or not."""

    cut: Cut | None = None
    train: bool = True
    grad: bool = True


def cut_pieces(feats: Tensor, lengths: Tensor, cut: Cut, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Cut one piece at a random place out of every utterance that is long enough.

    feats (B, T, F), lengths (B,) -> pieces (B', L, F), their lengths (B',) and the rows (B',) that were long enough. Two pieces cut
    with equally seeded generators come from the same place, so that context and future of an utterance belong together.
    """
    draws = torch.rand(len(lengths), generator=generator)  # on the CPU, so that the place does not depend on the device
    rows = torch.nonzero(lengths >= cut.total).squeeze(1)  # (B',)
    room = (lengths[rows] - cut.total + 1).to(torch.float64)
    start = (draws.to(room.device)[rows] * room).long()  # (B',)
    size = cut.context
    if cut.piece == "future":
        start, size = start + cut.context + cut.gap, cut.future
    frames = start[:, None] + torch.arange(size, device=feats.device)  # (B', L)
    return feats[rows[:, None], frames], torch.full_like(rows, size), rows
