"""What a source yields: recordings with their texts; and what the sources share in reading texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

TARGETS = ("bg", "cs", "de", "en", "es", "fr", "it", "nl", "pl", "pt", "ro", "ru", "sv", "zh")  # languages of texts that are kept

PARTS = ("train", "dev", "test")


class Clip(NamedTuple):
    """A recording of one language; `key` names what is said, in all languages alike, so clips of one key stay in one part."""

    source: str
    key: str  # unique among the recordings of a source in a language
    lang: str
    voice: str  # who speaks, "" where a source has one voice in a language
    texts: Mapping[str, str]  # language -> text, cased and punctuated; that of `lang` is what is said
    sound: Callable[[], tuple[np.ndarray, int] | None]  # samples (N,) and rate, None where there are none; UserError if it is broken
    parts: tuple[str, ...] = PARTS  # in which it may be used

    @property
    def speaker(self) -> str:
        """The source, the language and the voice: a voice of two sources or languages counts as two."""
        return "_".join(part for part in (self.source, self.lang, self.voice) if part)

    @property
    def id(self) -> str:
        """The utterance's id; it begins with the speaker, and so with the source."""
        return f"{self.speaker}-{re.sub(r'[^a-zA-Z0-9_.-]', '_', self.key)}"

    @property
    def item(self) -> str:
        """What is said, in whatever language and by whomever."""
        return f"{self.source}/{self.key}"


def tidy(text: str) -> str:
    """NFC, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def spoken(text: str) -> bool:
    """Whether there is a letter or digit in a text."""
    return any(letter.isalnum() for letter in text)


def sentence_case(text: str, lang: str) -> str | None:
    """A text in capitals with capitals only where sentences begin (and for the English I); other texts as they are.

    None for German in capitals, as its nouns cannot be told.
    """
    letters = [letter for letter in text if letter.isalpha()]
    if sum(letter.isupper() for letter in letters) <= 0.8 * len(letters):  # some are written as CLICHé
        return text
    if lang == "de":
        return None
    text = re.sub(r"(^|[.!?]\s+)([^\w]*)(\w)", lambda start: start[1] + start[2] + start[3].upper(), text.lower())
    return re.sub(r"\bi\b", "I", text) if lang == "en" else text
