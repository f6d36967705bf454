"""Writes words as single characters, so that sentencepiece joins words to tokens as it otherwise joins letters."""

from __future__ import annotations

from collections.abc import Iterable

from m2asr.errors import UserError

FIRST, LAST = 0xF0000, 0xFFFFC  # private-use characters for words, which no text contains
UNKNOWN = chr(LAST + 1)  # for a word without a character


class CodeWords:
    """The characters of words such as `c017`: the first word in sorted order has the first private-use character, and so on.

    Raises UserError if there are more than 65,533 words.
    """

    def __init__(self, words: Iterable[str]) -> None:
        ordered = sorted(set(words))
        if len(ordered) > LAST - FIRST + 1:
            raise UserError(f"{len(ordered)} different code words, at most {LAST - FIRST + 1} are possible; take fewer clusters")
        self._characters = {word: chr(FIRST + number) for number, word in enumerate(ordered)}
        self._words = {character: word for word, character in self._characters.items()}

    def write(self, text: str) -> str:
        """The words of a text as characters without spaces."""
        return "".join([self._characters.get(word, UNKNOWN) for word in text.split()])

    def read(self, characters: str) -> list[str]:
        """The words that these characters stand for; an unknown one stands for an empty word."""
        return [self._words.get(character, "") for character in characters]
