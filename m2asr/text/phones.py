"""Reads texts out as phones: Mandarin by pypinyin, other languages letter by letter or with espeak-ng."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from m2asr.errors import UserError
from m2asr.text.espeak import read_aloud
from m2asr.text.language import language_of
from m2asr.text.normalize import normalize
from m2asr.text.pinyin import pinyin_phones
from m2asr.text.scripts import foreign_letters

SILENT = {"'", " "}  # all that normalization leaves beside letters and digits


class Reading(NamedTuple):
    """The phones of a text, separated by spaces, and the characters of the text that have no reading."""

    phones: str
    unread: str = ""


Reader = Callable[[Sequence[str]], list[Reading]]  # many texts at once


def reader_for(lang: str, how: str | None = None) -> Reader:
    """The reader of a language: `how` is a key of READERS; without it, pypinyin for Mandarin and letters for the others.

    It normalizes texts by the rules of the language first. Raises UserError for a reader that does not know the language.
    """
    mandarin = language_of(lang).code == "zh" and language_of(lang).chinese
    how = how or ("pypinyin" if mandarin else "letters")
    if how == "pypinyin" and not mandarin:
        raise UserError(f"--how pypinyin: it reads Mandarin (zh), not {lang}; take --how letters or espeak, or correct --lang", exit_code=2)
    if how == "espeak" and mandarin:
        raise UserError("--how espeak: it reads the tones of Mandarin as numbers; take --how pypinyin", exit_code=2)
    return partial(_normalized, READERS[how], lang)


def _normalized(reader: Callable[[Sequence[str], str], list[Reading]], lang: str, texts: Sequence[str]) -> list[Reading]:
    return reader([normalize(text, lang) for text in texts], lang)


def _pypinyin(texts: Sequence[str], lang: str) -> list[Reading]:
    return [_joined(pinyin_phones(text)) for text in texts]


def _letters(texts: Sequence[str], lang: str) -> list[Reading]:
    """Every letter and every mark is a phone; digits, in languages whose numbers cannot be spelled out, are not."""
    return [_joined((letter, letter if _is_letter(letter) else None) for letter in text) for text in texts]


def _espeak(texts: Sequence[str], lang: str) -> list[Reading]:
    """Letters of other scripts are left out: espeak-ng would say what they are, `Chinese letter`."""
    foreign = [foreign_letters(text, lang) for text in texts]
    known = ["".join(letter for letter in text if letter not in unread) for text, unread in zip(texts, foreign, strict=True)]
    return [Reading(phones, unread) for phones, unread in zip(read_aloud(known, lang), foreign, strict=True)]


def _joined(readings: Sequence[tuple[str, str | None]]) -> Reading:
    """The reading of a text from its pieces and their phones, None for a piece without."""
    phones, unread = [], ""
    for piece, reading in readings:
        if reading is not None:
            phones.append(reading)
        elif piece not in SILENT:
            unread += piece
    return Reading(" ".join(phones), unread)


def _is_letter(letter: str) -> bool:
    return letter.isalpha() or unicodedata.category(letter)[0] == "M"


READERS: dict[str, Callable[[Sequence[str], str], list[Reading]]] = {"pypinyin": _pypinyin, "espeak": _espeak, "letters": _letters}
