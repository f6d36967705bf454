"""How a batch is encoded: whole or cut, masked, entered at a block, with or without gradient; equal views are encoded once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from m2asr.config import Strict
from m2asr.data.batch import Drawn, target_key


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

    @property
    def size(self) -> int:
        """Frames of the piece."""
        return self.context if self.piece == "context" else self.future

    @property
    def places(self) -> str:
        """What the places of windows are drawn for: the same for both pieces, so that they belong together."""
        return f"cut {self.context} {self.gap} {self.future} {self.windows}"

    def count(self, lengths: np.ndarray) -> np.ndarray:
        """How many windows utterances of these lengths have (B,)."""
        return np.clip((lengths - self.total) // (self.gap + self.future) + 1, 0, self.windows)


@dataclass(frozen=True)
class Mask:
    """Spans of encoder states that are replaced: each valid state begins one with `probability`, `length` states long; spans may overlap.

    `vector` names the module of the system whose learned vector stands in; None: a random vector for every state.
    """

    probability: float
    length: int
    vector: str | None = None

    def draw(self, lengths: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """The masked states (B, size) of utterances with so many valid states (B,); those behind them are never masked."""
        begins = rng.random((len(lengths), int(lengths.max(initial=0)))) < self.probability
        counts = np.cumsum(begins, axis=1)
        before = np.pad(counts, ((0, 0), (self.length, 0)))[:, : counts.shape[1]]  # spans that have ended
        masked = np.zeros((len(lengths), size), dtype=bool)
        masked[:, : counts.shape[1]] = counts > before
        return masked & (np.arange(size) < lengths[:, None])


@dataclass(frozen=True)
class View:
    """A way of encoding a batch.

    input: `feats`, or the key of a text whose tokens are read; embed: the module that turns these tokens into states. start: blocks of the
    encoder that are left out. mask: spans of its input states. cut: pieces of utterances instead of whole ones. causal: no state sees
    a later one. train: with dropout and augmentation, where the system trains. grad: whether a gradient goes back through it.
    """

    input: str = "feats"
    embed: str | None = None
    start: int = 0
    mask: Mask | None = None
    cut: Cut | None = None
    causal: bool = False
    train: bool = True
    grad: bool = True

    @property
    def key(self) -> str:
        """Names random numbers that are this view's own."""
        values = ((part.name, getattr(self, part.name), part.default) for part in dataclasses.fields(self) if part.name != "grad")
        return " ".join(f"{name}={value}" for name, value, default in values if value != default)

    def frames(self, lengths: np.ndarray) -> int:
        """How many frames, or tokens, of utterances of these lengths (B,) pass through the encoder."""
        return int(lengths.sum()) if self.cut is None else int(self.cut.count(lengths).sum()) * self.cut.size


class MaskOptions(Strict):
    """Spans of input states that are replaced; `vector` names a module of the type mask_vector, or null for random vectors."""

    probability: float = Field(gt=0, le=1)
    length: int = Field(gt=0)
    vector: str | None = None


class ViewOptions(Strict):
    """How an objective of a config wants its stream encoded: see `View`."""

    input: str = "feats"  # or the tokens that are read
    text: str = "text"  # of which text
    embed: str | None = None
    start: int = Field(0, ge=0)
    mask: MaskOptions | None = None
    causal: bool = False

    def view(self) -> View:
        """The view itself."""
        mask = None if self.mask is None else Mask(**self.mask.model_dump())
        kind = "feats" if self.input == "feats" else target_key(self.input, self.text)
        return View(kind, self.embed, self.start, mask, causal=self.causal)


def view_of(options: ViewOptions | None) -> View:
    """The view that a config describes; whole utterances where it says nothing."""
    return View() if options is None else options.view()


def cut_windows(lengths: np.ndarray, cut: Cut, rng: np.random.Generator) -> Drawn:
    """One piece of every window, at random places of every utterance that is long enough.

    lengths (B,) -> what is drawn for W pieces: their `lengths` (W,), the utterance (W,) of each, and the frames (W, L) of which it is made.
    Two pieces drawn with equally seeded generators come from the same places, so that context and future of a window belong together.
    """
    count = cut.count(lengths)[:, None]  # (B, 1)
    number = np.arange(cut.windows)  # (windows,)
    draws = np.sort(np.where(number < count, rng.random((len(lengths), cut.windows)), 2.0), axis=1)
    stride = cut.gap + cut.future
    room = lengths[:, None] - cut.total - (count - 1) * stride + 1  # (B, 1) places for all windows together
    starts = (draws * room).astype(np.int64) + number * stride  # (B, windows)
    rows, windows = np.nonzero(number < count)  # (W,), (W,)
    start = starts[rows, windows] + (cut.context + cut.gap if cut.piece == "future" else 0)
    frames = start[:, None] + np.arange(cut.size)  # (W, L)
    tensors = {"rows": torch.from_numpy(rows), "frames": torch.from_numpy(frames)}
    return Drawn(np.full(len(rows), cut.size), rows, tensors)
