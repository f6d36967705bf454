from __future__ import annotations

import time

import num2words
import pytest

from m2asr.text.normalize import normalize
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
        ("ar", "3.5", "ثلاثة فاصلة خمسة"),
        ("tr", "3,5", "üç virgül beş"),
        ("sq", "12 x", "12 x"),  # nobody knows the numbers of this language
    ],
)
def test_examples(lang: str, text: str, expected: str) -> None:
    assert " ".join(spell_numbers(text, lang).split()) == expected


@pytest.mark.parametrize("lang", ["bg", "zh"])
def test_numbers_below_ten_thousand_are_all_different(lang: str) -> None:
    assert len({spell_numbers(str(number), lang) for number in range(10000)}) == 10000


@pytest.mark.parametrize("lang", sorted({name.split("_")[0] for name in num2words.CONVERTER_CLASSES} | {"bg", "zh"}))
def test_decimals_are_all_different_and_differ_from_whole_numbers(lang: str) -> None:
    point = "." if normalize("1.234", lang) != normalize("1234", lang) else ","
    numbers = ["5", "50", "3", "13", *(f"{whole}{point}{part}" for whole in (0, 3) for part in ("1", "01", "5", "05", "12", "1234"))]
    assert len({normalize(number, lang) for number in numbers}) == len(numbers)


NUMBERS = ["0", "7", "1802", "1999", "100000", "123456789012", "999999999999", "1.5", "0,25", "3.1415", "007", "1234567890123", "1,234.5"]


@pytest.mark.parametrize("lang", sorted(num2words.CONVERTER_CLASSES))
def test_every_language_spells_every_number_in_a_bounded_time(lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    start = time.process_time()
    for number in NUMBERS:
        assert spell_numbers(number, lang).strip()
    assert time.process_time() - start < 20
    assert all(line.startswith("warning: num2words cannot spell") for line in capsys.readouterr().err.splitlines())


def test_numbers_that_num2words_cannot_spell_are_named_and_read_digit_by_digit(capsys: pytest.CaptureFixture[str]) -> None:
    assert spell_numbers("1802", "am").split() == spell_numbers("1 8 0 2", "am").split()
    assert spell_numbers("999999999998", "kn").split() == spell_numbers("9 9 9 9 9 9 9 9 9 9 9 8", "kn").split()
    assert capsys.readouterr().err == "warning: num2words cannot spell 999999999998 in `kn` (OverflowError); it is read digit by digit\n"


@pytest.mark.parametrize(("text", "lang"), [("3,14159", "hu"), ("240", "te"), ("90262398", "kn")])
def test_spelled_numbers_stay_when_they_are_normalized_again(text: str, lang: str) -> None:
    """num2words lacks decimals of Hungarian, and its Telugu and Kannada are not in composed form."""
    spelled = normalize(text, lang)
    assert normalize(spelled, lang) == spelled and not any(letter.isdigit() for letter in spelled)


@pytest.mark.parametrize("lang", ["en", "de", "zh", "bg", "am", "ja", "xx"])
def test_endless_numbers_take_linear_time(lang: str) -> None:
    for text in ("9" * 20_000, "0" * 20_000, "1," * 10_000 + "1", "1." * 10_000 + "5", "$" + "9" * 1000, "9" * 1000 + "th"):
        start = time.process_time()
        normalize(text, lang)
        assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("text", "lang", "spelled"),
    [
        ("1'000 Franken", "de-CH", "eintausend Franken"),
        ("1'234'567.5", "it-CH", "un milione e duecentotrentaquattromilacinquecentosessantasette virgola cinque"),
        ("1 000,5 euroa", "fi", "tuhat pilkku viisi euroa"),
        ("12 500 francs", "fr", "douze mille cinq cents francs"),
        ("1 000 000", "ru", "один миллион"),
        ("12 34", "fr", "douze trente-quatre"),
        ("1 000", "it", "uno zero zero zero"),
        ("01 000 1234 567", "fr", "zéro un zéro zéro zéro mille deux cent trente-quatre cinq cent soixante-sept"),
        ("d'1'000'0", "fr", "d' un ' zéro zéro zéro ' zéro"),
    ],
)
def test_groups_of_thousands(text: str, lang: str, spelled: str) -> None:
    assert " ".join(spell_numbers(text, lang).split()) == spelled
