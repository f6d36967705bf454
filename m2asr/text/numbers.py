"""Spells numbers out in the language of the text."""

from __future__ import annotations

import re
import sys
import unicodedata
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache

from m2asr.errors import shortened
from m2asr.text.language import Language, language_of

# Languages, and regions of other languages, that write 1,234.5; the others write 1.234,5.
_POINT_LANGUAGES = """
am ar as bn cy en fa ga gd gu ha he hi ig ja kn ko ml mn mr ms mt my ne pa ps si sw ta te th ti tl ug ur yo
zh yue wuu gan hsn cjy nan hak cdo lzh
"""
_POINT_REGIONS = "BZ CH CN CU DO GT HK HN IN LI MO MX NI PA PE PH PR SG SV TW US"
_SPACE_LANGUAGES = "be bg cs eo et fi fr hu kk lt lv nb nn no pl ru sk sv uk"  # that write 1 234,5
_DIGITS = 12  # the most of a cardinal
_FEWER_DIGITS = {"am": 3}  # of cardinals in languages whose larger ones num2words gets wrong, or never finishes
_BG_ONES = [
    *("нула", "един", "два", "три", "четири", "пет", "шест", "седем", "осем", "девет"),
    *("десет", "единадесет", "дванадесет", "тринадесет", "четиринадесет"),
    *("петнадесет", "шестнадесет", "седемнадесет", "осемнадесет", "деветнадесет"),
]
_BG_TENS = ["двадесет", "тридесет", "четиридесет", "петдесет", "шестдесет", "седемдесет", "осемдесет", "деветдесет"]
_BG_HUNDREDS = ["сто", "двеста", "триста", "четиристотин", "петстотин", "шестстотин", "седемстотин", "осемстотин", "деветстотин"]
_ZH_DIGITS = "零一二三四五六七八九"
_TRADITIONAL = str.maketrans("万亿点", "萬億點")
_POINTS = {  # how decimals are read where this file spells them; num2words reads 3.05 as 3.5 in the last five, or 3.5 as 3.50
    "chinese": "点",
    "bulgarian": "цяло и",
    "ar": "فاصلة",
    "bn": "দশমিক",
    "fa": "ممیز",
    "tr": "virgül",
    "vi": "phẩy",
}
_OTHER_NAMES = {"kk": "kz", "nb": "no"}  # of languages in num2words


def spell_numbers(text: str, lang: str) -> str:
    """Replace every number of `text` by words: cardinals, and decimals as the language writes them.

    Digits may be those of any script. Numbers with a leading zero, of more than 12 digits, and Chinese years are read digit by digit, and
    so are those that num2words cannot spell, which are named on stderr; in Chinese, 50% is 百分之五十. In a language that neither num2words
    nor this file knows, digits stay as they are.
    """
    if not re.search(r"\d", text) or not _speller(lang):
        return text
    language = language_of(lang)
    text = re.sub(r"\d", lambda digit: str(unicodedata.decimal(digit[0])), text)
    text = text.translate(str.maketrans("٫٬", ".," if _has_decimal_point(language) else ",."))
    between = "[' ]" if language.code in _SPACE_LANGUAGES.split() else "'"  # groups of thousands: 1'000 in Switzerland
    grouped = rf"(?<![0-9.,'])(?<![0-9] )[1-9][0-9]{{0,2}}(?:{between}[0-9]{{3}})+(?![0-9']| [0-9])"
    text = re.sub(grouped, lambda number: re.sub("[' ]", "", number[0]), text)
    if language.chinese:
        text = re.sub(r"(?<![0-9.,])([0-9]+(?:[.,][0-9]+)*)\s?%", r"百分之\1", text)
        text = re.sub(r"[0-9]{4}(?=年)", lambda year: "".join(_ZH_DIGITS[int(digit)] for digit in year[0]), text)
    cyrillic = language.code == "sr" and ("Latn" not in language.scripts or re.search("[а-џ]", text) is not None)
    write = _serbian_cyrillic if cyrillic else str  # num2words writes Serbian in Latin letters
    return re.sub(r"[0-9]+(?:[.,][0-9]+)*", lambda number: f" {write(_spell(number[0], lang))} ", text)


@lru_cache
def _speller(lang: str) -> str | None:
    """The name of what spells numbers out: `chinese`, `bulgarian`, or a language of num2words; None if nothing knows the language."""
    from num2words import CONVERTER_CLASSES

    language = language_of(lang)
    if language.chinese:
        return "chinese"
    if language.code == "bg":
        return "bulgarian"
    names = (f"{language.code}_{language.region}", language.code, _OTHER_NAMES.get(language.code))
    # num2words by itself would look for the first two letters, and read Estonian (est) as Spanish
    return next((name for name in names if name in CONVERTER_CLASSES), None)


def _has_decimal_point(language: Language) -> bool:
    return language.code in _POINT_LANGUAGES.split() or language.region in _POINT_REGIONS.split()


@lru_cache(10_000)
def _spell(number: str, lang: str) -> str:
    thousands, point = (",", ".") if _has_decimal_point(language_of(lang)) else (".", ",")
    if re.fullmatch(rf"[1-9][0-9]{{0,2}}(?:[{thousands}][0-9]{{3}})+(?:[{point}][0-9]+)?", number):
        number = number.replace(thousands, "")
    groups = re.split("[.,]", number)
    most = _FEWER_DIGITS.get(language_of(lang).code, _DIGITS)
    try:
        if len(groups) == 2 and len(groups[0]) <= most and len(groups[1]) <= 6 and not re.match("0[0-9]", number):
            with suppress(NotImplementedError, KeyError):  # num2words lacks decimals of the language
                return _words(Decimal(".".join(groups)), lang)
        return " ".join(_group(group, lang, most) for group in groups)
    except (NotImplementedError, KeyError):  # and perhaps all numbers
        return " ".join(groups)
    except Exception as error:  # noqa: BLE001 - of num2words, whose languages raise whatever they like
        reason = f"num2words cannot spell {shortened(number)} in `{lang}` ({type(error).__name__})"
        print(f"warning: {reason}; it is read digit by digit", file=sys.stderr)
        return " ".join(_digits(group, lang) for group in groups)


def _group(digits: str, lang: str, most: int) -> str:
    """Digits as a cardinal, or one by one if there are more than `most` or a leading zero."""
    return _digits(digits, lang) if len(digits) > most or re.match("0[0-9]", digits) else _words(int(digits), lang)


def _digits(number: str, lang: str) -> str:
    return " ".join(_digit(digit, lang) for digit in number)


@lru_cache(1000)
def _digit(digit: str, lang: str) -> str:
    """A digit in words, or itself where num2words cannot spell it."""
    try:
        return _words(int(digit), lang)
    except NotImplementedError:
        raise
    except Exception:  # noqa: BLE001 - of num2words
        return digit


def _words(number: int | Decimal, lang: str) -> str:
    speller = _speller(lang)
    if isinstance(number, Decimal) and speller in _POINTS:
        integer, _, fraction = str(number).partition(".")
        words = f"{_words(int(integer), lang)} {_POINTS[speller]} {_digits(fraction, lang)}"
    elif speller in ("chinese", "bulgarian"):
        words = (_chinese if speller == "chinese" else _bulgarian)(int(number))
    else:
        from num2words import num2words

        words = num2words(float(number) if isinstance(number, Decimal) else number, lang=speller)  # Italian drops a Decimal's decimals
    words = unicodedata.normalize("NFC", words)  # as all texts are; num2words writes vowel signs of Kannada and Telugu in two parts
    return words.translate(_TRADITIONAL) if language_of(lang).traditional else words


def _serbian_cyrillic(words: str) -> str:
    for latin, cyrillic in (("lj", "љ"), ("nj", "њ"), ("dž", "џ")):
        words = words.replace(latin, cyrillic)
    return words.translate(str.maketrans("abcdefghijklmnoprstuvzčćđšž", "абцдефгхијклмнопрстувзчћђшж"))


def _bulgarian(number: int) -> str:
    """A cardinal below 10^12 in Bulgarian; `и` comes before its last word."""
    words: list[str] = []
    for value, singular, plural in ((10**9, "милиард", "милиарда"), (10**6, "милион", "милиона"), (1000, "хиляда", "хиляди")):
        count, number = divmod(number, value)
        if value == 1000 and count == 1:
            words.append(singular)
        elif count:
            feminine = value == 1000 and count % 10 == 2 and count % 100 != 12
            words += [re.sub("два$", "две", _bulgarian(count)) if feminine else _bulgarian(count), singular if count == 1 else plural]
    below = [_BG_HUNDREDS[number // 100 - 1]] if number >= 100 else []
    rest = number % 100
    if rest >= 20:
        below.append(_BG_TENS[rest // 10 - 2])
        rest %= 10
    if rest or not (words or below):
        below.append(_BG_ONES[rest])
    if below and len(words) + len(below) > 1:
        below[-1:] = ["и", below[-1]]
    return " ".join(words + below)


def _chinese(number: int) -> str:
    """A cardinal below 10^12 in Chinese."""
    if number < 10:
        return _ZH_DIGITS[number]
    for value, unit in ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if number >= value:
            count, rest = divmod(number, value)
            head = "" if 10 <= number < 20 else _chinese(count)
            return head + unit + (("零" if rest < value // 10 else "") + _spelled_rest(rest) if rest else "")
    raise ValueError(number)


def _spelled_rest(number: int) -> str:
    return "一" + _chinese(number) if 10 <= number < 20 else _chinese(number)
