"""How a batch is encoded: whole or cut, with or without gradient; equal views of a batch are encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """One of the two pieces of windows of an utterance, in frames: `context`, then `gap` frames that belong to neither, then `future`.

    An utterance has as many windows as fit with futures that share no sample, at most `windows`.
    """

    context: int
    gap: int
    future: int
    piece: Literal["context", "future"]
    windows: int = 1

    @property
    def total(self) -> int:
        return self.context + self.gap + self.future

    def count(self, lengths: Tensor) -> Tensor:
        """How many windows utterances of these lengths have (B,)."""
        more = torch.div(lengths - self.total, self.gap + self.future, rounding_mode="floor")
        return (more + 1).clamp(min=0, max=self.windows)


@dataclass(frozen=True)
class View:
    """A way of encoding a batch: which piece, without looking ahead or with, in training mode or not, with a gradient or not."""

    cut: Cut | None = None
    causal: bool = False
    train: bool = True
    grad: bool = True

    def frames(self, lengths: Tensor) -> Tensor:
        """How many frames () of utterances of these lengths (B,) pass through the encoder."""
        if self.cut is None:
            return lengths.sum()
        return self.cut.count(lengths).sum() * (self.cut.context if self.cut.piece == "context" else self.cut.future)


def cut_pieces(feats: Tensor, lengths: Tensor, cut: Cut, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Cut one piece of every window, at random places of every utterance that is long enough.

    feats (B, T, F), lengths (B,) -> pieces (W, L, F), their lengths (W,) and the utterance (W,) of each. Two pieces cut with
    equally seeded generators come from the same places, so that context and future of a window belong together.
    """
    count = cut.count(lengths)[:, None]  # (B, 1)
    number = torch.arange(cut.windows, device=lengths.device)  # (windows,)
    draws = torch.rand(len(lengths), cut.windows, generator=generator, dtype=torch.float64)  # on the CPU: the same on every device
    draws = draws.to(lengths.device).masked_fill(number >= count, 2.0).sort(dim=1).values
    stride = cut.gap + cut.future
    room = lengths[:, None] - cut.total - (count - 1) * stride + 1  # (B, 1) places for all windows together
    starts = (draws * room).long() + number * stride  # (B, windows)
    rows, window = torch.nonzero(number < count, as_tuple=True)  # (W,), (W,)
    start, size = starts[rows, window], cut.context
    if cut.piece == "future":
        start, size = start + cut.context + cut.gap, cut.future
    frames = start[:, None] + torch.arange(size, device=feats.device)  # (W, L)
    return feats[rows[:, None], frames], torch.full_like(rows, size), rows
