"""Overlapping windows cover a stream, and the words found in them are joined without doubles or gaps."""

from __future__ import annotations

import numpy as np
import pytest

from m2asr.decode.marks import Mark
from m2asr.decode.segments import Span, SpanResult, TimedText, to_segments
from m2asr.decode.windows import WindowCutter, join_windows


@pytest.mark.parametrize("length", [1, 99, 100, 101, 175, 176, 1000])
@pytest.mark.parametrize("block", [1, 33, 1000])
def test_windows_cover_the_stream_and_overlap(length, block):
    wave = np.arange(length, dtype=np.float32)
    cutter = WindowCutter(rate=10, longest=10.0, overlap=2.5)
    pieces = [piece for start in range(0, length, block) for piece in cutter(wave[start : start + block])] + list(cutter.rest())
    for number, piece in enumerate(pieces):
        assert piece.start == 7.5 * number and np.array_equal(piece.wave, wave[75 * number : 75 * number + 100])
    assert pieces[-1].wave[-1] == length - 1 and all(len(piece.wave) == 100 for piece in pieces[:-1])
    assert len(pieces) == 1 or len(pieces[-1].wave) > 25  # what a last window had alone


@pytest.mark.parametrize("seed", range(20))
def test_every_word_counts_once(seed):
    """Words are heard a little earlier or later in every window, and those at the edges of a window are misheard."""
    rng = np.random.default_rng(seed)
    lengths, gaps = rng.uniform(0.1, 0.5, 200), rng.uniform(0.12, 0.6, 200)
    ends = np.cumsum(lengths + gaps)
    truth = [Mark(f"w{n}", end - length, end, 1.0) for n, (length, end) in enumerate(zip(lengths, ends, strict=True))]
    windows, size, shared = [], 20.0, 4.0
    for start in np.arange(0, ends[-1] - shared, size - shared):
        words = []
        for word in truth:
            shift = rng.uniform(-0.05, 0.05)
            if start <= word.start and word.end <= start + size:
                sure = (start == 0 or word.start > start + 0.9) and (start + size > ends[-1] or word.end < start + size - 0.9)
                words.append(word.shifted(shift)._replace(text=word.text if sure else "misheard"))
        windows.append((start, start + size, words))
    assert [word.text for words in join_windows(windows) for word in words] == [word.text for word in truth]


def test_a_single_window_and_windows_without_words():
    words = [Mark("a", 0.0, 1.0, 1.0)]
    assert join_windows([(0.0, 20.0, words)]) == [words] and join_windows([]) == []
    assert join_windows([(0.0, 20.0, []), (16.0, 36.0, [Mark("b", 19.0, 19.5, 1.0), *words])]) == [[], [Mark("b", 19.0, 19.5, 1.0)]]


def test_segments_of_windows_hold_the_words_that_are_left():
    def result(channel: int, start: float, *words: tuple[str, float]) -> SpanResult:
        marks = [Mark(text, at, at + 0.4, 0.5) for text, at in words]
        return SpanResult(Span(channel, start, start + 10), TimedText(" ".join(text for text, _ in words), marks), None)

    results = [
        result(2, 0.0, ("other", 9.0)),
        result(1, 8.0, ("e", 8.1), ("two", 9.2), ("three", 12.0)),
        result(1, 0.0, ("one", 5.0), ("two", 9.2)),
        result(1, 16.0),
    ]
    segments = to_segments(results, windows=True)
    assert [(segment.channel, segment.text, segment.start, segment.end) for segment in segments] == [
        (1, "one", 5.0, 5.4),
        (2, "other", 9.0, 9.4),
        (1, "two three", 9.2, 12.4),
    ]
