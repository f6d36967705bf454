"""Time marks: when a token or a word is said, and how sure the model is of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from m2asr.config import FbankConfig
from m2asr.decode.ctc_align import Alignment
from m2asr.models.subsampling import Subsampling
from m2asr.text.normalize import CJK
from m2asr.text.tokenizer import SPACE, UNK, Tokenizer

_CJK = re.compile(f"[{CJK}]")


class Mark(NamedTuple):
    """A token or word with its start and end in seconds and a confidence from 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float

    @property
    def middle(self) -> float:
        """Half-way between start and end."""
        return (self.start + self.end) / 2

    def later(self, seconds: float) -> Mark:
        """The same mark, moved."""
        return self._replace(start=self.start + seconds, end=self.end + seconds)


@dataclass(frozen=True)
class StateTimes:
    """Where the states of an encoder lie in a recording.

    A state sees `span` frames. It stands for the middle of what it sees, as long as the step to the next state: with frames of 25 ms
    every 10 ms, state n stands for the seconds from 0.0225 + 0.04 n to 0.0625 + 0.04 n.
    """

    first: float  # seconds, where state 0 begins
    step: float  # seconds from one state to the next

    @classmethod
    def of(cls, fbank: FbankConfig) -> StateTimes:
        """Those of features that were computed like this."""
        step = Subsampling.factor * fbank.frame_shift
        seen = (Subsampling.span - 1) * fbank.frame_shift + fbank.frame_length
        return cls((seen - step) / 2000, step / 1000)

    def start(self, state: int) -> float:
        """Seconds at which a state begins, which is where the one before it ends."""
        return self.first + self.step * state


def token_marks(alignment: Alignment, tokenizer: Tokenizer, times: StateTimes, seconds: float) -> list[Mark]:
    """When the tokens of an alignment are said in a recording of so many seconds.

    A token begins with its first state and ends after its last one, so that blanks, such as pauses, belong to none. Its confidence is
    its mean posterior over these states.
    """
    marks = []
    for token, start, end, posterior in zip(alignment.tokens, alignment.starts, alignment.ends, alignment.posteriors, strict=True):
        text = "⁇" if token == UNK else tokenizer.tokens[token]
        marks.append(Mark(text, min(times.start(start), seconds), min(times.start(end), seconds), posterior))
    return marks


def word_marks(tokens: Iterable[Mark]) -> list[Mark]:
    """The words that tokens write: up to the next space; every Chinese or Japanese character is a word.

    A word begins with its first token and ends with its last; where a token reaches over several words, as pieces of Chinese do, its
    letters share its time evenly. The confidence is the mean over the letters.
    """
    words: list[list[Mark]] = [[]]
    for letter in _letters(tokens):
        alone = _CJK.match(letter.text) is not None
        if words[-1] and (letter.text == SPACE or alone or _CJK.match(words[-1][-1].text)):
            words.append([])
        if letter.text != SPACE:
            words[-1].append(letter)
    return [
        Mark("".join(one.text for one in word), word[0].start, word[-1].end, sum(one.confidence for one in word) / len(word))
        for word in words
        if word
    ]


def _letters(tokens: Iterable[Mark]) -> Iterator[Mark]:
    """The characters of tokens, spaces without length."""
    for token in tokens:
        step = (token.end - token.start) / max(1, len(token.text) - token.text.count(SPACE))
        at = token.start
        for letter in token.text:
            end = at if letter == SPACE else at + step
            yield Mark(letter, at, end, token.confidence)
            at = end


def join_words(words: Sequence[str]) -> str:
    """The text of words: with a space between them, but not beside Chinese and Japanese characters."""
    text = ""
    for word in words:
        text += word if not text or _CJK.match(word) or _CJK.match(text[-1]) else f" {word}"
    return text
