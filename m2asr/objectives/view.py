"""Views: the ways to encode a batch, such as cut into pieces, masked, with noise, from a later block on, or without gradient.

Objectives with equal views share one pass through the encoder.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from m2asr.config import Strict
from m2asr.data.batch import Drawn, target_key
from m2asr.limits import Count, Natural, PositiveShare, Share
from m2asr.names import TextName
from m2asr.text.tokenizer import UNK


@dataclass(frozen=True)
class Cut:
    """Cut one of the two pieces out of each window of an utterance.

    A window has `context` frames, then `gap` frames that belong to neither piece, then `future` frames; `piece` says which is cut out. An
    utterance has as many windows as fit with futures that share no sample, at most `windows`.
    """

    context: int
    gap: int
    future: int
    piece: Literal["context", "future"]
    windows: int = 1

    @property
    def total(self) -> int:
        """Frames of a window."""
        return self.context + self.gap + self.future

    @property
    def size(self) -> int:
        """Frames of the piece."""
        return self.context if self.piece == "context" else self.future

    @property
    def key(self) -> str:
        """Seeds the random positions of windows. Both pieces have the same key, so that they come from the same windows."""
        return f"cut {self.context} {self.gap} {self.future} {self.windows}"

    def count(self, lengths: np.ndarray) -> np.ndarray:
        """Numbers of windows (B,) in utterances of these lengths (B,)."""
        return np.clip((lengths - self.total) // (self.gap + self.future) + 1, 0, self.windows)


@dataclass(frozen=True)
class Mask:
    """Replace spans of encoder states.

    Each valid state begins a span of `length` states with `probability`; spans may overlap. `vector` names the module of the system whose
    learned vector replaces the states; with None every state is replaced by a random vector.
    """

    probability: float
    length: int
    vector: str | None = None

    def draw(self, lengths: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """A mask (B, size) of utterances with `lengths` (B,) valid states; padding is never masked."""
        starts = rng.random((len(lengths), int(lengths.max(initial=0)))) < self.probability
        counts = np.cumsum(starts, axis=1)
        passed = min(self.length, counts.shape[1])
        ended = np.pad(counts, ((0, 0), (passed, 0)))[:, : counts.shape[1]]  # spans that ended before a state
        masked = np.zeros((len(lengths), size), dtype=bool)
        masked[:, : counts.shape[1]] = counts > ended
        return masked & (np.arange(size) < lengths[:, None])


@dataclass(frozen=True)
class Noise:
    """Corrupt tokens that are read (Zhou et al. 2022, MMSpeech).

    The `share` of the tokens of every text, rounded up, is corrupted, in spans of `span` tokens that do not overlap; the remainder is a
    shorter span. A corrupted token becomes a random one with the probability `random`, otherwise the mask.
    """

    share: float
    random: float = 0.1
    span: int = 1

    def corrupt(self, tokens: np.ndarray, lengths: np.ndarray, vocab: int, rng: np.random.Generator) -> np.ndarray:
        """Tokens (B, U) of texts of these lengths (B,), corrupted; the mask has the number `vocab`. Padding stays as it is.

        Random tokens are none of blank, unknown and sos/eos.
        """
        chosen = self.draw(lengths, tokens.shape[1], rng)
        noise = np.where(rng.random(tokens.shape) < self.random, rng.integers(UNK + 1, vocab - 1, tokens.shape), vocab)
        return np.where(chosen, noise, tokens)

    def draw(self, lengths: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """The tokens (B, size) to be corrupted.

        A text is a row of spans and single tokens; of all orders of these each is equally likely.
        """
        count = np.ceil(self.share * lengths - 1e-9).astype(np.int64)[:, None]  # (B, 1); 0.07 * 100 is a little above 7
        spans = -(-count // self.span)
        order = rng.random((len(lengths), size))
        order[np.arange(size) >= lengths[:, None] - count + spans] = 2.0  # no item: after all that there are
        rank = order.argsort(axis=1).argsort(axis=1)  # (B, size): the first items in a random order are the spans
        sizes = np.where(rank < spans, self.span, 1) * (order < 2)
        sizes[(rank == 0) & (count > 0)] -= (spans * self.span - count)[count > 0]
        chosen = np.zeros((len(lengths), size + 1), dtype=np.int64)
        ends = np.cumsum(sizes, axis=1)
        rows, items = np.nonzero(rank < spans)
        np.add.at(chosen, (rows, (ends - sizes)[rows, items]), 1)
        np.add.at(chosen, (rows, ends[rows, items]), -1)
        return chosen.cumsum(axis=1)[:, :size] > 0


@dataclass(frozen=True)
class View:
    """A way to encode a batch.

    input: `feats`, or the key of a text whose tokens are read. embed: the module that turns these tokens into states. start: number of
    encoder blocks that are skipped. mask: spans of input states that are replaced. cut: encode pieces of utterances instead of complete
    ones. causal: no state sees a later one. train: use dropout and augmentation while the system trains. grad: compute a gradient. noise:
    tokens that are corrupted before they are read. average: means of the modules encode, which follow these with this decay.
    """

    input: str = "feats"
    embed: str | None = None
    start: int = 0
    mask: Mask | None = None
    cut: Cut | None = None
    causal: bool = False
    train: bool = True
    grad: bool = True
    noise: Noise | None = None
    average: float | None = None

    @property
    def key(self) -> str:
        """Seeds the random numbers of this view: its options that differ from the defaults, as text.

        The text holds the names of fields, and of the classes Cut, Mask and Noise: renaming one changes the random numbers of a run.
        """
        values = ((option.name, getattr(self, option.name), option.default) for option in dataclasses.fields(self) if option.name != "grad")
        return " ".join(f"{name}={value}" for name, value, default in values if value != default)

    def frames(self, lengths: np.ndarray) -> int:
        """Numbers of frames, or tokens, that the encoder reads of utterances of these lengths (B,), summed."""
        return int(lengths.sum()) if self.cut is None else int(self.cut.count(lengths).sum()) * self.cut.size


class MaskOptions(Strict):
    """Options of `Mask`; `vector` names a module of the type mask_vector, or is null for random vectors."""

    probability: PositiveShare
    length: Count
    vector: str | None = None


class NoiseOptions(Strict):
    """Options of `Noise`."""

    share: PositiveShare
    random: Share = 0.1
    span: Count = 1


class ViewOptions(Strict):
    """Options of `View` in the section of an objective."""

    input: str = "feats"  # or the tokenizer whose tokens are read
    text: TextName = "text"  # the text whose tokens are read
    embed: str | None = None
    start: Natural = 0
    mask: MaskOptions | None = None
    causal: bool = False
    noise: NoiseOptions | None = None

    def view(self) -> View:
        """The view with these options."""
        mask = None if self.mask is None else Mask(**self.mask.model_dump())
        noise = None if self.noise is None else Noise(**self.noise.model_dump())
        kind = "feats" if self.input == "feats" else target_key(self.input, self.text)
        return View(kind, self.embed, self.start, mask, causal=self.causal, noise=noise)


def view_of(options: ViewOptions | None) -> View:
    """The view that a config describes; complete utterances by default."""
    return View() if options is None else options.view()


def cut_windows(lengths: np.ndarray, cut: Cut, rng: np.random.Generator) -> Drawn:
    """Draw one piece of every window, at random positions of every utterance that is long enough.

    From lengths (B,) to W pieces: their `lengths` (W,), the utterance (W,) of each, and its frames (W, L). Two cuts that differ only in
    `piece` give the pieces of the same windows if their generators have the same seed.
    """
    count = cut.count(lengths)[:, None]  # (B, 1)
    window = np.arange(cut.windows)  # (windows,)
    offsets = np.sort(np.where(window < count, rng.random((len(lengths), cut.windows)), 2.0), axis=1)
    stride = cut.gap + cut.future
    positions = lengths[:, None] - cut.total - (count - 1) * stride + 1  # (B, 1) positions that are free for all windows together
    starts = (offsets * positions).astype(np.int64) + window * stride  # (B, windows)
    rows, windows = np.nonzero(window < count)  # (W,), (W,)
    start = starts[rows, windows] + (cut.context + cut.gap if cut.piece == "future" else 0)
    frames = start[:, None] + np.arange(cut.size)  # (W, L)
    tensors = {"rows": torch.from_numpy(rows), "frames": torch.from_numpy(frames)}
    return Drawn(np.full(len(rows), cut.size), rows, tensors)
