"""The scripts that texts are written in."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from m2asr.text.language import language_of

UNSPACED = (  # letters of scripts without spaces between words, for a class of a regular expression
    "\u0e00-\u109f\ua980-\ua9ff\uaa60-\uaadf\u1780-\u17ff\u1950-\u19df\u1a20-\u1aad\u1b00-\u1b7f"  # South-East Asia and Tibet
    "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]")
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_LETTERS = {  # scripts (ISO 15924) -> the first words of Unicode's names of their letters, where these are not the name of the script
    "Hans": "CJK IDEOGRAPHIC",
    "Hant": "CJK IDEOGRAPHIC",
    "Hani": "CJK IDEOGRAPHIC",
    "Jpan": "CJK IDEOGRAPHIC HIRAGANA KATAKANA",
    "Hrkt": "HIRAGANA KATAKANA",
    "Kore": "HANGUL",
    "Latn": "LATIN MODIFIER",
    "Cyrl": "CYRILLIC",
    "Grek": "GREEK",
    "Arab": "ARABIC",
    "Hebr": "HEBREW",
    "Syrc": "SYRIAC",
    "Thaa": "THAANA",
    "Nkoo": "NKO",
    "Deva": "DEVANAGARI",
    "Beng": "BENGALI",
    "Gujr": "GUJARATI",
    "Guru": "GURMUKHI",
    "Orya": "ORIYA",
    "Olck": "OL",
    "Taml": "TAMIL",
    "Telu": "TELUGU",
    "Knda": "KANNADA",
    "Mlym": "MALAYALAM",
    "Sinh": "SINHALA",
    "Thai": "THAI",
    "Laoo": "LAO",
    "Khmr": "KHMER",
    "Mymr": "MYANMAR",
    "Tibt": "TIBETAN",
    "Mong": "MONGOLIAN",
    "Geor": "GEORGIAN",
    "Armn": "ARMENIAN",
    "Ethi": "ETHIOPIC",
    "Cans": "CANADIAN",
    "Cher": "CHEROKEE",
    "Yiii": "YI",
    "Java": "JAVANESE",
}


def is_unspaced(letter: str) -> bool:
    """Whether texts have no space beside this letter, as in Chinese or Thai."""
    return _UNSPACED.fullmatch(letter) is not None


def mixed_tokens(text: str) -> list[str]:
    """The words of a text; where its script has no spaces between words, the characters."""
    return _TOKEN.findall(text)


@lru_cache
def scripts_of(lang: str) -> frozenset[str]:
    """The first words of Unicode's names of the letters of a language."""
    return frozenset(word for script in language_of(lang).scripts for word in _LETTERS.get(script, script.upper()).split())


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
