"""What a transcription of a recording holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from m2asr.decode.marks import Mark, join_words
from m2asr.text.normalize import UNSPACED


@dataclass(frozen=True)
class Segment:
    """What is said between two pauses, or in a window, on one channel (from 1).

    `words` and `translated` have the words of the text and of the translation with their times in the recording; they are empty where
    no CTC head could tell the times. `translation` is None where none was asked for.
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
    """A recording in words: its segments by start, its language, the language of the translation or None.

    `channels` were heard one by one; their mix counts as one. `notes` tell what a user should know of it; `whole` is False where the
    recording ends before its header says.
    """

    path: str
    seconds: float
    lang: str
    to: str | None
    segments: list[Segment]
    channels: int = 1
    notes: list[str] = field(default_factory=list)
    whole: bool = True

    @property
    def text(self) -> str:
        """All that is said."""
        return join([segment.text for segment in self.segments], self.lang)

    @property
    def translation(self) -> str | None:
        """Its translation, None where none was asked for."""
        return None if self.to is None else join([segment.translation or "" for segment in self.segments], self.to)

    @property
    def words(self) -> list[Mark]:
        """All words with their times."""
        return [word for segment in self.segments for word in segment.words]


def join(texts: Sequence[str], lang: str) -> str:
    """Texts of one language as one text."""
    said = [text for text in texts if text]
    return join_words(said) if lang in UNSPACED else " ".join(said)


def spread(text: str, start: float, end: float) -> list[Mark]:
    """The words of a text over a time, in proportion to their letters, where nothing tells when they are said; confidence 0."""
    words = text.split()
    step = (end - start) / max(1, sum(map(len, words)))
    marks = []
    for word in words:
        marks.append(Mark(word, start, start + step * len(word), 0.0))
        start += step * len(word)
    return marks
