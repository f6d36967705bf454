"""Windows of an utterance for CPC: a context and the targets after it, which the context cannot see."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from m2asr.data.batch import Drawn
from m2asr.errors import UserError
from m2asr.models.encoded import Encoded
from m2asr.models.subsampling import Subsampling
from m2asr.objectives.view import Cut, View

Windows = tuple[np.ndarray, dict[str, Tensor]]  # the utterance (W,) of each window, and the tensors that `gather` needs


class CutWindows:
    """Windows whose context and future are pieces that are encoded separately, with a gap of one analysis window between them.

    Times in seconds, `frame_shift` and `frame_length` in milliseconds; `most` windows per utterance.
    """

    def __init__(self, frame_shift: float, frame_length: float, context: float, future: float, most: int, tap: str) -> None:
        _check(frame_shift, context=context, future=future)
        gap = math.ceil(frame_length / frame_shift) - 1  # frames that share samples with the last context frame
        sizes = (round(context * 1000 / frame_shift), gap, round(future * 1000 / frame_shift))
        self.most = most
        self.views = (View(cut=Cut(*sizes, piece="context", windows=most)), View(cut=Cut(*sizes, piece="future", windows=most)))
        self.reads = tuple((view, tap) for view in self.views)

    def choose(self, drawn: Mapping[View, Drawn], rng: np.random.Generator) -> Windows:
        """The windows that the views were cut into, all of them."""
        return drawn[self.views[0]].utterances, {}

    def gather(self, encoded: Mapping[View, Encoded], chosen: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The last context state (W, D) and all future states (W, K, D) of every window."""
        (context, tap), (future, _) = self.reads
        return encoded[context].states[tap][:, -1], encoded[future].states[tap]  # pieces have one length, so the last state is not padding


class CausalWindows:
    """Windows whose contexts are states of a causal pass at random positions; targets are later front-end states.

    The first target is the first front-end state that shares no sample with the context.

    Times in seconds, `frame_shift` and `frame_length` in milliseconds; `most` windows per utterance.
    """

    def __init__(self, frame_shift: float, frame_length: float, context: float, future: float, most: int, tap: str) -> None:
        _check(frame_shift, context=context, future=future)
        state_ms = Subsampling.factor * frame_shift  # ms from one state to the next
        seen_ms = (Subsampling.span - 1) * frame_shift + frame_length  # ms that a front-end state sees
        self.gap = math.ceil(seen_ms / state_ms)  # states from a context to the first target
        self.first = max(0, math.ceil((1000 * context - seen_ms) / state_ms))  # the first state that has seen the minimum of context
        self.size = max(1, int((1000 * future - seen_ms) // state_ms) + 1)  # targets that lie within the future
        self.most = most
        view = View(causal=True)
        self.views, self.reads = (view,), ((view, tap), (view, "frontend"))

    def choose(self, drawn: Mapping[View, Drawn], rng: np.random.Generator) -> Windows:
        """Contexts at different random positions of every utterance, in the order of time."""
        positions = np.clip(drawn[self.views[0]].states - self.first - self.gap - self.size + 1, 0, None)[:, None]  # (B, 1)
        most_positions = max(1, int(positions.max(initial=0)))
        order = np.where(np.arange(most_positions) < positions, rng.random((len(positions), most_positions)), 2.0)
        rank = order.argsort(axis=1).argsort(axis=1)
        rows, anchors = np.nonzero(rank < np.minimum(positions, self.most))  # (W,), (W,)
        return rows, {"rows": torch.from_numpy(rows), "anchors": torch.from_numpy(anchors + self.first)}

    def gather(self, encoded: Mapping[View, Encoded], chosen: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The context state (W, D) and the K front-end states (W, K, D) after it, of every window."""
        (view, tap), (_, before) = self.reads
        states, rows, anchors = encoded[view].states, chosen["rows"], chosen["anchors"]
        after = anchors[:, None] + self.gap + torch.arange(self.size, device=anchors.device)  # (W, K)
        return states[tap][rows, anchors], states[before][rows[:, None], after]


def _check(frame_shift: float, **seconds: float) -> None:
    for name, value in seconds.items():
        if value * 1000 < Subsampling.span * frame_shift:
            minimum = Subsampling.span * frame_shift / 1000
            raise UserError(f"{name}: {value} s are too short for an encoder state; give at least {minimum:g} s")
