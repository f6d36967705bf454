"""Time marks: when a token or a word is spoken, and with which confidence."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from m2asr.config import FbankConfig
from m2asr.decode.ctc_align import Alignment
from m2asr.models.subsampling import Subsampling
from m2asr.text.scripts import is_unspaced
from m2asr.text.tokenizer import SPACE, Tokenizer, read_bytes


class Mark(NamedTuple):
    """A token or word with its start and end in seconds and a confidence from 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float

    @property
    def middle(self) -> float:
        """The time half-way between start and end."""
        return (self.start + self.end) / 2

    def shifted(self, seconds: float) -> Mark:
        """The same mark, `seconds` later."""
        return self._replace(start=self.start + seconds, end=self.end + seconds)


@dataclass(frozen=True)
class StateTimes:
    """The times of encoder states in a recording, or of the labels that CTC writes per state.

    A state sees `span` frames. Its time is the middle of these frames, as long as the step to the next state: with frames of 25 ms every 10
    ms, the time of state n is from 0.0225 + 0.04 n to 0.0625 + 0.04 n seconds. The labels of a state share its time evenly.
    """

    first: float  # seconds, where state or label 0 begins
    step: float  # seconds from one to the next

    @classmethod
    def of(cls, fbank: FbankConfig, upsampling: int = 1) -> StateTimes:
        """The times of states of features with this config, or of `upsampling` labels per state."""
        step_ms = Subsampling.factor * fbank.frame_shift
        seen_ms = (Subsampling.span - 1) * fbank.frame_shift + fbank.frame_length
        return cls((seen_ms - step_ms) / 2000, step_ms / 1000 / upsampling)

    def start(self, state: int) -> float:
        """The time in seconds at which a state or label begins and the one before it ends."""
        return self.first + self.step * state


def token_marks(alignment: Alignment, tokenizer: Tokenizer, times: StateTimes, seconds: float) -> list[Mark]:
    """The marks of the tokens of an alignment in a recording of `seconds` seconds.

    A token begins with its first state and ends after its last one; blanks, such as in pauses, belong to no token. Its confidence is its
    mean posterior over these states.
    """
    marks = []
    for token, start, end, posterior in zip(alignment.tokens, alignment.starts, alignment.ends, alignment.posteriors, strict=True):
        marks.append(Mark(tokenizer.piece(token), min(times.start(start), seconds), min(times.start(end), seconds), posterior))
    return marks


def word_marks(tokens: Iterable[Mark]) -> list[Mark]:
    """The words that tokens write, separated by spaces; every character of a script without spaces, such as Chinese, is a word.

    A word begins with its first token and ends with its last. If a token holds several words, as pieces of Chinese do, its letters share
    its time evenly. The confidence is the mean over the letters.
    """
    words: list[list[Mark]] = [[]]
    for letter in _letters(tokens):
        mark = unicodedata.category(letter.text)[0] == "M"  # such as a vowel of Thai, belongs to the letter before
        if words[-1] and not mark and (letter.text == SPACE or is_unspaced(letter.text) or is_unspaced(words[-1][-1].text)):
            words.append([])
        if letter.text != SPACE:
            words[-1].append(letter)
    return [
        Mark(
            read_bytes("".join(letter.text for letter in word)),
            word[0].start,
            word[-1].end,
            sum(letter.confidence for letter in word) / len(word),
        )
        for word in words
        if word
    ]


def _letters(tokens: Iterable[Mark]) -> Iterator[Mark]:
    """The characters of tokens as marks; a space has no length."""
    for token in tokens:
        length = (token.end - token.start) / max(1, len(token.text) - token.text.count(SPACE))
        start = token.start
        for letter in token.text:
            end = start if letter == SPACE else start + length
            yield Mark(letter, start, end, token.confidence)
            start = end


def join_words(words: Sequence[str]) -> str:
    """Join words to a text, with spaces between them except beside characters of scripts without spaces."""
    text = ""
    for word in words:
        text += word if not text or is_unspaced(word[:1]) or is_unspaced(text[-1]) else f" {word}"
    return text
