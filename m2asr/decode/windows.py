"""Cut a stream into overlapping windows, and join the words of the windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from m2asr.decode.marks import Mark
from m2asr.decode.piece import Piece


class WindowCutter:
    """Cuts blocks of samples at `rate` Hz into windows of `longest` seconds; each shares `overlap` seconds with the next."""

    def __init__(self, rate: int, longest: float, overlap: float) -> None:
        self.rate = rate
        self._size, self._shared = round(longest * rate), round(overlap * rate)
        self._wave = np.zeros(0, dtype=np.float32)
        self._start = 0  # sample of the recording where `_wave` begins

    def __call__(self, block: np.ndarray) -> Iterator[Piece]:
        """The windows that the next samples (N,) fill."""
        self._wave = np.concatenate([self._wave, block])
        while len(self._wave) > self._size:  # not at equality: the last window ends with the recording
            yield Piece(self._start / self.rate, self._wave[: self._size].copy())
            step = self._size - self._shared
            self._wave, self._start = self._wave[step:], self._start + step

    def rest(self) -> Iterator[Piece]:
        """The last window, which may be shorter."""
        if len(self._wave):
            yield Piece(self._start / self.rate, self._wave)


def join_windows(windows: Sequence[tuple[float, float, Sequence[Mark]]]) -> list[list[Mark]]:
    """The words of every window (its start, its end, its words), without those that belong to a neighbour.

    Two neighbours share a seam in their overlap; a word belongs to the side of the seam on which its middle lies. So the words at the edge
    of a window, which has little audio around them, come from its neighbour. The seam is the middle of the widest gap between words of the
    earlier window, within the inner half of the overlap.
    """
    seams = [-np.inf]
    for (_, end, words), (start, _, _) in zip(windows, windows[1:], strict=False):
        quarter = (end - start) / 4
        seams.append(_widest_gap(words, start + quarter, end - quarter))
    seams.append(np.inf)
    return [
        [word for word in words if low <= word.middle < high] for (_, _, words), low, high in zip(windows, seams, seams[1:], strict=False)
    ]


def _widest_gap(words: Sequence[Mark], low: float, high: float) -> float:
    """The middle of the longest time without words between `low` and `high`; half-way between both if there is none."""
    edges = [low, *(min(max(edge, low), high) for word in words for edge in (word.start, word.end)), high]
    gaps = [(end - start, (start + end) / 2) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    width, middle = max(gaps, key=lambda gap: gap[0])
    return middle if width > 0 else (low + high) / 2
