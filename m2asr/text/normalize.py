"""Normalizes text to the form that recognition writes; data preparation and scoring both use it."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress

from m2asr.text.language import Language, language_of
from m2asr.text.numbers import spell_numbers
from m2asr.text.scripts import UNSPACED

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4\u055a\u05f3", "'"))
_EDGE_APOSTROPHES = re.compile(r"(?<!\S)'+|'+(?!\S)")
# Fillers, variation selectors and the like; and three marks of Armenian, which stand inside a word and tell how it is called out.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef\u055b\u055c\u055e]")
_ARABIC = "[\u0620-\u065f\u066e-\u06d3\u06d5-\u06dc\u06df-\u06e8\u06ea-\u06ef\u06fa-\u06fc\u06ff\u0750-\u077f]"
_INSIDE_WORDS = re.compile(
    f"(?<={_ARABIC})\u200c(?={_ARABIC})"  # Persian and its like: two letters that are not joined
    "|(?<=[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca])[\u200c\u200d]"  # languages of India: how consonants are joined
    "|(?<=[lns])\u00b7(?=[lh])"  # Catalan and Occitan
    "|(?<=[\u0f40-\u0fbc])\u0f0b(?=[\u0f40-\u0fbc])"  # Tibetan: between syllables, where it writes no space
    "|(?<=[\u05d0-\u05ea])\u05f4(?=[\u05d0-\u05ea])"  # abbreviations in Hebrew
)
_HEBREW_QUOTE = re.compile('(?<=[\u05d0-\u05ea])["\u201d](?=[\u05d0-\u05ea])')
_ENGLISH_TO_EXPAND = re.compile(r"[0-9]|\b[a-z]{2,4}\.|&")
_STRAY_POINT = re.compile(r"(?<![a-z0-9])[.,]|[.,](?=[.,])")
_ENGLISH_FIGURE = re.compile(
    r"(?<![$£0-9.,])(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+\.[0-9]+|0[0-9]+)(?![0-9]|[.,][0-9])|[0-9]{13,}"
)  # numbers that the cleaner misreads: 1,234 as a year, 3.14 as "fourteen"
_SPACE_BESIDE_UNSPACED = re.compile(f"(?<=[{UNSPACED}]) | (?=[{UNSPACED}])")


def normalize(text: str, lang: str) -> str:
    """Turn a text into lower-case words with single spaces: numbers in words, no punctuation but apostrophes inside words.

    Unicode is NFKC; English is ASCII with abbreviations read out ("dr." -> "doctor"); Chinese, Japanese, Thai and the like have no spaces
    beside their characters. Characters that cannot be seen vanish, but joiners stay where they are spelling, as in Persian. `lang` is a
    language code (m2asr.text.language). normalize(normalize(x)) == normalize(x).
    """
    language = language_of(lang)
    if language.code == "uz":
        text = text.replace("\u02bb", "'")  # the mark of two letters, which is often typed as an apostrophe
    text = _visible(unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)))
    text = unicodedata.normalize("NFKC", _lower(unicodedata.normalize("NFKC", text), language)).translate(_APOSTROPHES)
    if language.code == "en":
        text = _english(text)
    if not text.isalpha():
        text = _plain(_lower(spell_numbers(text, lang), language))
        text = _EDGE_APOSTROPHES.sub("", re.sub("'+", "'", " ".join(text.split())))
        text = " ".join(text.split())
    if language.unspaced:
        text = _SPACE_BESIDE_UNSPACED.sub("", text)
    return text


def _visible(text: str) -> str:
    """The text without characters that cannot be seen, such as soft hyphens; joiners stay where they are spelling."""
    if text.isascii():
        return text
    text = re.sub("([\u200c\u200d])+", r"\1", _INVISIBLE.sub("", _HEBREW_QUOTE.sub("\u05f4", text)))
    kept = {match.start() for match in _INSIDE_WORDS.finditer(text)}
    return "".join(letter for index, letter in enumerate(text) if index in kept or unicodedata.category(letter) != "Cf")


def _lower(text: str, language: Language) -> str:
    """Small letters by the rules of the language: in Turkish, I and İ are the capitals of ı and i."""
    if language.dotted_i:
        text = text.replace("I", "ı").replace("İ", "i")
    return re.sub("i\u0307+", "i", text.lower())  # Python makes two characters of İ


def _plain(text: str) -> str:
    """The text with a space for every character that belongs to no word."""
    kept = {match.start() for match in _INSIDE_WORDS.finditer(text)}
    letters = " "
    for index, letter in enumerate(text):
        bound = index in kept or unicodedata.category(letter)[0] == "M"  # to the letter before
        letters += letter if letter.isalnum() or letter == "'" or (bound and letters[-1] not in " '") else " "
    return letters


def _english(text: str) -> str:
    """Turn English into ASCII; the cleaner of espnet_tts_frontend spells out numbers, years, ordinals, dollars and abbreviations."""
    if not text.isascii():
        from unidecode import unidecode

        text = "".join(letter if letter == "£" else unidecode(letter) for letter in text).lower()
    if _ENGLISH_TO_EXPAND.search(text):  # its import takes a second
        from tacotron_cleaner.cleaners import expand_abbreviations, expand_numbers

        text = _ENGLISH_FIGURE.sub(lambda figure: spell_numbers(figure[0], "en").replace(" and ", " "), _STRAY_POINT.sub(" ", text))
        with suppress(ValueError):  # int() reads at most 4,300 digits; `spell_numbers` reads all of them
            text = expand_numbers(text)
        text = expand_abbreviations(text).replace("misess", "missus").replace("&", " and ")
    return text
