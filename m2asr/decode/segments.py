"""Turn the texts of the pieces of a recording into its segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from m2asr.decode.marks import Mark, join_words
from m2asr.decode.transcript import Segment, spread
from m2asr.decode.windows import join_windows


class Span(NamedTuple):
    """A stretch of a recording on a channel (from 1), from `start` to `end` seconds."""

    channel: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


class TimedText(NamedTuple):
    """The text that a head wrote for a piece, and its words with times; None if their times are unknown."""

    text: str
    words: Sequence[Mark] | None


class SpanResult(NamedTuple):
    """The text of a stretch, and its translation, or None if none is requested."""

    span: Span
    text: TimedText
    translation: TimedText | None


def to_segments(results: Iterable[SpanResult], windows: bool) -> list[Segment]:
    """The segments, sorted by start; those without a word are left out.

    With `windows`, which overlap, a word that two neighbours have counts once.
    """
    results = sorted(results, key=lambda result: result.span)
    segments = [
        Segment(
            *span,
            text=text.text,
            words=text.words or (),
            translation=None if translation is None else translation.text,
            translated=() if translation is None else translation.words or (),
        )
        for span, text, translation in (_joined(results) if windows else results)
        if text.text or translation is not None and translation.text
    ]
    return sorted(segments, key=lambda segment: (segment.start, segment.channel))


def _joined(results: list[SpanResult]) -> list[SpanResult]:
    """The windows of every channel without doubled words; a window is cut down to its remaining words."""
    joined = []
    for channel in sorted({result.span.channel for result in results}):
        channel_results = [result for result in results if result.span.channel == channel]
        spans = [result.span for result in channel_results]
        texts = _without_doubles(spans, [result.text for result in channel_results])
        translations: list[TimedText | None] = [result.translation for result in channel_results]
        if None not in translations:
            translations = [*_without_doubles(spans, translations)]
        for span, text, translation in zip(spans, texts, translations, strict=True):
            words = [*text.words, *(translation.words if translation else [])]
            if words:
                span = Span(channel, min(word.start for word in words), max(word.end for word in words))
            joined.append(SpanResult(span, text, translation))
    return joined


def _without_doubles(spans: list[Span], texts: list[TimedText]) -> list[TimedText]:
    marks = [spread(text.text, span.start, span.end) if text.words is None else text.words for span, text in zip(spans, texts, strict=True)]
    joined = join_windows([(span.start, span.end, words) for span, words in zip(spans, marks, strict=True)])
    return [TimedText(join_words([word.text for word in words]), words) for words in joined]
