"""The scripts that languages are written in."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_LANGUAGES = {  # the first word of Unicode's names of the letters -> languages (ISO 639-1); the others are written in Latin letters
    "CJK": "zh ja",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CYRILLIC": "be bg kk ky mk mn ru sr tg tt uk",
    "LATIN": "sr",
    "GREEK": "el",
    "ARABIC": "ar ckb fa ps sd ug ur",
    "HEBREW": "he yi",
    "DEVANAGARI": "hi mr ne sa",
    "BENGALI": "as bn",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "ORIYA": "or",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am ti",
}


@lru_cache
def scripts_of(lang: str) -> frozenset[str]:
    """The scripts of a language; Latin letters for one that is not listed."""
    return frozenset(script for script, languages in _LANGUAGES.items() if lang in languages.split()) or frozenset({"LATIN"})


def foreign_share(text: str, lang: str) -> float:
    """The share of the letters of a text that belong to no script of the language, 0 for a text without letters.

    Give it the text as it was written: normalized English is ASCII, whatever it was.
    """
    text = unicodedata.normalize("NFKC", text)  # full-width letters have names of their own
    letters = [letter for letter in text if letter.isalpha()]
    return len(foreign_letters(text, lang)) / max(1, len(letters))


def foreign_letters(text: str, lang: str) -> str:
    """The letters of a text that belong to no script of the language, in their order."""
    known = scripts_of(lang)
    return "".join(letter for letter in text if letter.isalpha() and _script(letter) not in known)


@lru_cache(100_000)
def _script(letter: str) -> str:
    return re.split("[ -]", unicodedata.name(letter, ""))[0]
