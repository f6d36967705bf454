"""The transcript of a recording and its segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from m2asr.decode.marks import Mark, join_words
from m2asr.text.language import language_of


@dataclass(frozen=True)
class Segment:
    """The text between two pauses, or in a window, on one channel (from 1).

    `words` and `translated` are the words of the text and of the translation with their times in the recording; they are empty if no CTC
    head gives their times. `translation` is None if none was requested.
    """

    channel: int
    start: float  # seconds
    end: float
    text: str
    words: Sequence[Mark] = ()
    translation: str | None = None
    translated: Sequence[Mark] = ()


@dataclass(frozen=True)
class Transcript:
    """The segments of a recording, sorted by start, its language `lang`, and the language `to` of the translation or None.

    `channels` is the number of channels that were transcribed separately; their mix counts as one. `notes` are remarks for the user.
    `complete` is False if the recording ends before the end that its header gives.
    """

    path: str
    seconds: float
    lang: str
    to: str | None
    segments: list[Segment]
    channels: int = 1
    notes: list[str] = field(default_factory=list)
    complete: bool = True

    @property
    def text(self) -> str:
        """The text of all segments."""
        return join_texts([segment.text for segment in self.segments], self.lang)

    @property
    def translation(self) -> str | None:
        """The translation of all segments, or None if none was requested."""
        return None if self.to is None else join_texts([segment.translation or "" for segment in self.segments], self.to)

    @property
    def words(self) -> list[Mark]:
        """All words with their times."""
        return [word for segment in self.segments for word in segment.words]


def join_texts(texts: Sequence[str], lang: str) -> str:
    """Join texts in one language to one text."""
    present = [text for text in texts if text]
    return join_words(present) if language_of(lang).unspaced else " ".join(present)


def spread(text: str, start: float, end: float) -> list[Mark]:
    """Spread the words of a text over a time in proportion to their letters, if their times are unknown; their confidence is 0."""
    words = text.split()
    step = (end - start) / max(1, sum(map(len, words)))
    marks = []
    for word in words:
        marks.append(Mark(word, start, start + step * len(word), 0.0))
        start += step * len(word)
    return marks
