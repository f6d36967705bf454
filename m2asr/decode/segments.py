"""From what heads wrote for the pieces of a recording to its segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from m2asr.decode.marks import Mark, join_words
from m2asr.decode.transcript import Segment, spread
from m2asr.decode.windows import join_windows


class Span(NamedTuple):
    """A stretch of a recording: its channel (from 1), from `start` to `end` seconds."""

    channel: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Read(NamedTuple):
    """What a head wrote for a piece; no words where nothing tells when they are said."""

    text: str
    words: Sequence[Mark] | None


class Answer(NamedTuple):
    """What is said in a stretch, and its translation, or None where none was asked for."""

    span: Span
    text: Read
    translation: Read | None


def to_segments(found: Iterable[Answer], windows: bool) -> list[Segment]:
    """The segments by start; those without a word are left out. Of `windows`, words that neighbours tell as well count once."""
    found = sorted(found, key=lambda answer: answer.span)
    segments = [
        Segment(
            *span,
            text=text.text,
            words=text.words or (),
            translation=None if translation is None else translation.text,
            translated=() if translation is None else translation.words or (),
        )
        for span, text, translation in (_joined(found) if windows else found)
        if text.text or translation is not None and translation.text
    ]
    return sorted(segments, key=lambda segment: (segment.start, segment.channel))


def _joined(found: list[Answer]) -> list[Answer]:
    """The windows of every channel without the words that neighbours tell as well, as long as the words that are left."""
    joined = []
    for channel in sorted({answer.span.channel for answer in found}):
        answers = [answer for answer in found if answer.span.channel == channel]
        spans = [answer.span for answer in answers]
        texts = _without_doubles(spans, [answer.text for answer in answers])
        translations: list[Read | None] = [answer.translation for answer in answers]
        if None not in translations:
            translations = [*_without_doubles(spans, translations)]
        for span, text, translation in zip(spans, texts, translations, strict=True):
            words = [*text.words, *(translation.words if translation else [])]
            if words:
                span = Span(channel, min(word.start for word in words), max(word.end for word in words))
            joined.append(Answer(span, text, translation))
    return joined


def _without_doubles(spans: list[Span], texts: list[Read]) -> list[Read]:
    marks = [
        spread(text.text, span.start, span.end) if text.words is None else text.words for span, text in zip(spans, texts, strict=True)
    ]
    kept = join_windows([(span.start, span.end, words) for span, words in zip(spans, marks, strict=True)])
    return [Read(join_words([word.text for word in words]), words) for words in kept]
