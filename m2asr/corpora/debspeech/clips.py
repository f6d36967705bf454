"""The recordings of a source with their texts, and functions that the sources share to read texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

TARGETS = ("bg", "cs", "de", "en", "es", "fr", "it", "nl", "pl", "pt", "ro", "ru", "sv", "zh")  # languages of the texts that are used

SPLITS = ("train", "dev", "test")


class Clip(NamedTuple):
    """A recording in one language; `key` names its content in all languages, so all clips of a key are in the same split."""

    source: str
    key: str  # unique among the recordings of a source in a language
    lang: str
    voice: str  # the speaker, "" if a source has one voice in a language
    texts: Mapping[str, str]  # language -> text, cased and punctuated; the text of `lang` is the transcript
    sound: Callable[[], tuple[np.ndarray, int] | None]  # gives samples (N,) and rate, None if a syllable is missing; UserError if damaged
    splits: tuple[str, ...] = SPLITS  # splits that may contain it

    @property
    def speaker(self) -> str:
        """The source, the language and the voice: a voice of two sources or languages counts as two."""
        return "_".join(name for name in (self.source, self.lang, self.voice) if name)

    @property
    def id(self) -> str:
        """The id of the utterance, which begins with the speaker, and so with the source."""
        return f"{self.speaker}-{re.sub(r'[^a-zA-Z0-9_.-]', '_', self.key)}"

    @property
    def item(self) -> str:
        """The id of the content, the same for all languages and speakers."""
        return f"{self.source}/{self.key}"


def tidy(text: str) -> str:
    """Turn a text into NFC with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def spoken(text: str) -> bool:
    """Whether a text has a letter or digit, so that something is said."""
    return any(letter.isalnum() for letter in text)


def sentence_case(text: str, lang: str) -> str | None:
    """Turn a text in capitals into one with capitals only at the beginning of sentences (and for the English I).

    Other texts stay as they are. None for German in capitals, since its nouns cannot be recognized.
    """
    letters = [letter for letter in text if letter.isalpha()]
    if sum(letter.isupper() for letter in letters) <= 0.8 * len(letters):  # some are written as CLICHé
        return text
    if lang == "de":
        return None
    text = re.sub(r"(^|[.!?]\s+)([^\w]*)(\w)", lambda start: start[1] + start[2] + start[3].upper(), text.lower())
    return re.sub(r"\bi\b", "I", text) if lang == "en" else text
