from __future__ import annotations

import pytest

from m2asr.text.numbers import spell_numbers


@pytest.mark.parametrize(
    "lang, text, expected",
    [
        ("bg", "0 21 101 120 2000 2345", "нула двадесет и един сто и един сто и двадесет две хиляди две хиляди триста четиридесет и пет"),
        ("bg", "1000 1000000 3,5", "хиляда един милион три цяло и пет"),
        ("zh", "0 15 110 1011 10500 20000001", "零 十五 一百一十 一千零一十一 一万零五百 二千万零一"),
        ("zh", "3.5 1,000", "三 点 五 一千"),
        ("it", "3,5 1.250 007", "tre virgola cinque milleduecentocinquanta zero zero sette"),
        ("de", "1.234,5", "eintausendzweihundertvierunddreißig Komma fünf"),
        ("en", "1.2.3 12:30", "one two three twelve : thirty"),
        ("en", "1234567890123", "one two three four five six seven eight nine zero one two three"),  # too long for anybody to say
        ("sq", "12 x", "12 x"),  # nobody knows the numbers of this language
    ],
)
def test_examples(lang: str, text: str, expected: str) -> None:
    assert " ".join(spell_numbers(text, lang).split()) == expected


@pytest.mark.parametrize("lang", ["bg", "zh"])
def test_numbers_below_ten_thousand_are_all_different(lang: str) -> None:
    assert len({spell_numbers(str(number), lang) for number in range(10000)}) == 10000
