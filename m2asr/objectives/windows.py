"""Windows of an utterance for CPC: a context and what follows it, such that the context cannot see its targets."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.models.encoded import Encoded
from m2asr.models.subsampling import Subsampling
from m2asr.objectives.view import Cut, View

Gathered = tuple[Tensor, Tensor, Tensor]  # contexts (W, D), targets (W, K, D), the utterance of each (W,)


class CutWindows:
    """Context and future are pieces that are encoded apart, with a gap of one analysis window between them.

    Times in seconds, `frame_shift` and `frame_length` in milliseconds; `most` windows per utterance.
    """

    def __init__(self, frame_shift: float, frame_length: float, context: float, future: float, most: int) -> None:
        _check(frame_shift, context=context, future=future)
        gap = math.ceil(frame_length / frame_shift) - 1  # frames that share samples with the last context frame
        sizes = (round(context * 1000 / frame_shift), gap, round(future * 1000 / frame_shift))
        self.most = most
        self.views = (View(Cut(*sizes, piece="context", windows=most)), View(Cut(*sizes, piece="future", windows=most)))

    def count(self, frames: Tensor, states: Tensor) -> Tensor:
        """Windows per utterance (B,) from its frames (B,) and states (B,)."""
        return self.views[0].cut.count(frames)

    def gather(self, encoded: Mapping[View, Encoded], tap: str) -> Gathered:
        """The last context state and all future states of every window."""
        context, future = (encoded[view] for view in self.views)
        # pieces have one length, so the last state is no padding
        return context.states[tap][:, -1], future.states[tap], context.aux["rows"]


class CausalWindows:
    """Contexts are states of a causal pass at random places; targets are the front-end states that share no sample with them.

    Times in seconds, `frame_shift` and `frame_length` in milliseconds; `most` windows per utterance.
    """

    views = (View(causal=True),)

    def __init__(self, frame_shift: float, frame_length: float, context: float, future: float, most: int) -> None:
        _check(frame_shift, context=context, future=future)
        state = Subsampling.factor * frame_shift  # ms from one state to the next
        seen = (Subsampling.span - 1) * frame_shift + frame_length  # ms that a front-end state sees
        self.gap = math.ceil(seen / state)  # states from a context to the first target
        self.first = max(0, math.ceil((1000 * context - seen) / state))  # the first state that has seen enough
        self.size = max(1, int((1000 * future - seen) // state) + 1)  # targets that lie within the future
        self.most = most

    def count(self, frames: Tensor, states: Tensor) -> Tensor:
        """Windows per utterance (B,) from its frames (B,) and states (B,)."""
        return self._places(states).clamp(max=self.most)

    def gather(self, encoded: Mapping[View, Encoded], tap: str) -> Gathered:
        """Contexts at different random places, in the order of time, and the targets after each."""
        one = encoded[self.views[0]]
        places = self._places(one.lengths).cpu()[:, None]  # (B, 1)
        order = torch.rand(len(places), max(1, int(places.max()))).masked_fill(torch.arange(max(1, int(places.max()))) >= places, 2.0)
        rank = order.argsort(dim=1).argsort(dim=1)  # the same on every device
        rows, anchors = torch.nonzero(rank < places.clamp(max=self.most), as_tuple=True)  # (W,), (W,)
        rows, anchors = rows.to(one.lengths.device), (anchors + self.first).to(one.lengths.device)
        after = anchors[:, None] + self.gap + torch.arange(self.size, device=anchors.device)  # (W, K)
        return one.states[tap][rows, anchors], one.states["frontend"][rows[:, None], after], rows

    def _places(self, states: Tensor) -> Tensor:
        return (states - self.first - self.gap - self.size + 1).clamp(min=0)


def _check(frame_shift: float, **seconds: float) -> None:
    for name, value in seconds.items():
        if value * 1000 < Subsampling.span * frame_shift:
            least = Subsampling.span * frame_shift / 1000
            raise UserError(f"{name}: {value} s hold no encoder state; give at least {least:g}")
