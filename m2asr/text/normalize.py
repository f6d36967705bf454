"""Normalizes text to the form that recognition writes; data preparation and scoring both use it."""

from __future__ import annotations

import re
import unicodedata

from m2asr.text.numbers import spell_numbers

UNSPACED = {"zh", "ja"}
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4", "'"))
_EDGE_APOSTROPHES = re.compile(r"(?<!\S)'+|'+(?!\S)")
_ENGLISH_TO_EXPAND = re.compile(r"[0-9]|\b[a-z]{2,4}\.|&")
_STRAY_POINT = re.compile(r"(?<![a-z0-9])[.,]|[.,](?=[.,])")
_ENGLISH_FIGURE = re.compile(
    r"(?<![$£0-9.,])(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+\.[0-9]+|0[0-9]+)(?![0-9]|[.,][0-9])|[0-9]{13,}"
)  # numbers that the cleaner misreads: 1,234 as a year, 3.14 as "fourteen"


def normalize(text: str, lang: str) -> str:
    """Turn a text into lower-case words with single spaces: numbers in words, no punctuation but apostrophes inside words.

    Unicode is NFKC; English is ASCII with abbreviations read out ("dr." -> "doctor"); Chinese and Japanese characters have no spaces
    around them. `lang` is an ISO 639-1 code. normalize(normalize(x)) == normalize(x).
    """
    text = text.translate(_APOSTROPHES)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower()).translate(_APOSTROPHES)
    if lang == "en":
        text = _english(text)
    if not text.isalpha():
        text = "".join(_plain(letter) for letter in spell_numbers(text, lang).lower())
        text = _EDGE_APOSTROPHES.sub("", re.sub("'+", "'", " ".join(text.split())))
        text = " ".join(text.split())
    if lang in UNSPACED:
        text = re.sub(f"(?<=[{CJK}]) | (?=[{CJK}])", "", text)
    return text


def _plain(letter: str) -> str:
    """The character itself if it belongs to a word, otherwise a space."""
    return letter if letter.isalnum() or letter == "'" or unicodedata.category(letter)[0] == "M" else " "


def _english(text: str) -> str:
    """Turn English into ASCII; the cleaner of espnet_tts_frontend spells out numbers, years, ordinals, dollars and abbreviations."""
    if not text.isascii():
        from unidecode import unidecode

        text = "".join(letter if letter == "£" else unidecode(letter) for letter in text).lower()
    if _ENGLISH_TO_EXPAND.search(text):  # its import takes a second
        from tacotron_cleaner.cleaners import expand_abbreviations, expand_numbers

        text = _ENGLISH_FIGURE.sub(lambda figure: spell_numbers(figure[0], "en").replace(" and ", " "), _STRAY_POINT.sub(" ", text))
        text = expand_abbreviations(expand_numbers(text)).replace("misess", "missus").replace("&", " and ")
    return text
