"""Cut a stream of audio at the pauses of its speech."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from m2asr.data.recording import StreamResampler
from m2asr.decode.piece import Piece
from m2asr.decode.vad import CHUNK, RATE, SpeechDetector

SPEECH, SILENCE = 0.5, 0.35  # speech begins above the first probability and ends below the second
PAD = 5  # chunks, 0.16 s: the most that a piece has before and after its speech; more made the WER of mini's dev sets worse
SHORTEST = 3  # chunks; shorter speech is taken for noise


class PauseCutter:
    """Cuts blocks of samples at `rate` Hz into pieces of speech.

    A piece ends where nobody speaks for `pause` seconds; it includes half of the pause, at most 0.16 s, before and after its speech. A
    piece that becomes longer than `longest` seconds is cut in its second half, where speech is least probable. The cutter never holds more
    samples than those of the longest piece.
    """

    def __init__(self, rate: int, pause: float, longest: float, detector: SpeechDetector) -> None:
        self.rate = rate
        self._second = RATE / CHUNK  # chunks
        self._pause = max(2, round(pause * self._second))
        self._pad = min(PAD, self._pause // 2)
        self._longest = max(2 * SHORTEST + 2, round(longest * self._second) - 2 * self._pad)
        self._detector = detector
        detector.reset()
        self._resample = StreamResampler(rate, RATE) if rate != RATE else None
        self._probs: list[float] = []  # of the chunks from `_first` on
        self._wave = np.zeros(0, dtype=np.float32)  # samples from chunk `_first` on
        self._first = 0
        self._next = 0  # the chunk whose probability comes next
        self._begin: int | None = None  # the chunk where the present piece begins
        self._silent: int | None = None  # the chunk where the present silence begins
        self._joined = False  # whether the present piece begins in the middle of speech

    def __call__(self, block: np.ndarray) -> Iterator[Piece]:
        """The pieces that end within the next samples (N,)."""
        self._wave = np.concatenate([self._wave, block])
        yield from self._follow(self._detector(self._resample(block[None])[0] if self._resample else block))

    def rest(self) -> Iterator[Piece]:
        """The last pieces, at the end of the stream."""
        if self._resample:
            yield from self._follow(self._detector(self._resample.rest()[0]))
        yield from self._follow(self._detector.flush())
        if self._begin is not None:
            yield from self._end(self._next if self._silent is None else self._silent, pad=True)

    def _follow(self, probs: list[float]) -> Iterator[Piece]:
        for prob in probs:
            now, self._next = self._next, self._next + 1
            self._probs.append(prob)
            if self._begin is None and prob >= SPEECH:
                self._begin, self._silent, self._joined = now, None, False
            elif self._begin is not None:
                if prob >= SPEECH:
                    self._silent = None
                elif prob < SILENCE and self._silent is None:
                    self._silent = now
                if self._silent is not None and self._next - self._silent >= self._pause:
                    yield from self._end(self._silent, pad=True)
                elif self._next - self._begin >= self._longest:
                    yield from self._split()
        self._forget()

    def _split(self) -> Iterator[Piece]:
        """End the present piece at the quietest chunk of its second half and begin the next piece there."""
        half = self._begin + (self._next - self._begin) // 2
        probs = self._probs[half - self._first :]
        split = half + int(np.argmin(np.convolve(probs, np.ones(5) / 5, mode="same")[2:-2])) + 2 if len(probs) > 4 else half
        silent = self._silent
        yield from self._end(split, pad=False)
        self._begin, self._joined = split, True
        self._silent = silent if silent is not None and silent >= split else None

    def _end(self, end: int, pad: bool) -> Iterator[Piece]:
        begin, self._begin = self._begin, None
        if end - begin >= SHORTEST or self._joined:
            first = max(self._first, begin - (0 if self._joined else self._pad))
            last = min(self._next, end + (self._pad if pad else 0))
            origin = self._sample(self._first)
            wave = self._wave[self._sample(first) - origin : self._sample(last) - origin]
            if len(wave):
                yield Piece(self._sample(first) / self.rate, wave.copy())

    def _forget(self) -> None:
        """Drop the samples and probabilities that no later piece needs."""
        first_needed = max(self._first, (self._next if self._begin is None else self._begin) - self._pad)
        self._wave = self._wave[self._sample(first_needed) - self._sample(self._first) :]
        self._probs = self._probs[first_needed - self._first :]
        self._first = first_needed

    def _sample(self, chunk: int) -> int:
        return round(chunk * CHUNK / RATE * self.rate)
