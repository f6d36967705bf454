"""Reads Mandarin as initials and toned finals, by the phrases and characters of pypinyin."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache


def pinyin_phones(text: str) -> Iterator[tuple[str, str | None]]:
    """The phrases and characters of a text, each with its phones, or None without a reading.

    你好 gives `n i3 h ao3`: the tones are 1 to 4, and 5 for none; ü is v; without an initial, as in 要, the final is alone (`iao4`).
    The phrase that a character is in decides its reading: 银行 `in2 h ang2`, 行走 `x ing2 z ou3`. Latin letters are phones in
    capitals, since small ones would be initials. There is no tone sandhi: 你 in 你好 keeps its third tone.
    """
    from pypinyin.seg.mmseg import seg  # its import takes half a second

    return ((phrase, _phones(phrase)) for phrase in seg.cut(text))


@cache  # as many entries as pypinyin has phrases and characters, 90,000
def _phones(phrase: str) -> str | None:
    from pypinyin import Style, lazy_pinyin

    if phrase.isascii():
        return phrase.upper() if phrase.isalpha() else None
    syllables = lazy_pinyin(phrase, style=Style.TONE3, neutral_tone_with_five=True, errors="ignore")
    return " ".join(phone for syllable in syllables for phone in _split(syllable)) or None


def _split(syllable: str) -> list[str]:
    """The initial and the toned final of a syllable; a syllable without a vowel, such as 嗯 (n2), is a phone by itself."""
    from pypinyin.contrib.tone_convert import to_finals_tone3, to_initials

    initial, final = to_initials(syllable), to_finals_tone3(syllable, neutral_tone_with_five=True)
    return [phone for phone in (initial, final) if phone] if final else [syllable]
