from __future__ import annotations

import random

import pytest

from m2asr.text.normalize import normalize


@pytest.mark.parametrize(
    "lang, text, expected",
    [
        ("en", "Dr. Smith's 3rd café, in 1995!", "doctor smith's third cafe in nineteen ninety five"),
        ("en", "It cost $5.20 & 1,234 cents.", "it cost five dollars twenty cents and one thousand two hundred thirty four cents"),
        ("en", "3.14159 or 007, £3", "three point one four one five nine or zero zero seven three pounds"),
        ("en", "“Don’t!” - the dogs' well-known rock'n'roll", "don't the dogs well known rock'n'roll"),
        ("it", "L’Università: un po' d'acqua (3,5 litri)", "l'università un po d'acqua tre virgola cinque litri"),
        ("it", "1.250 euro", "milleduecentocinquanta euro"),
        ("ru", "Ёлка №5 — 21 рубль.", "ёлка no пять двадцать один рубль"),
        ("uk", "п’ять", "п'ять"),
        ("uz-Latn", "O\u02bbzbek G‘isht", "o'zbek g'isht"),
        ("haw", "\u02bbokina", "\u02bbokina"),
        ("de", "Straße 12:30 Uhr", "straße zwölf dreißig uhr"),
        ("fr", "À 21 h, l'œuvre", "à vingt et un h l'œuvre"),
        ("bg", "125 лева", "сто двадесет и пет лева"),
        ("zh", "我 有２０１９年 10 个 苹果,KTV 很好。", "我有二零一九年十个苹果ktv很好"),
        ("zh", "涨了3.5％,还有 50 %", "涨了百分之三点五还有百分之五十"),
        ("hi", "नमस्ते, दुनिया!", "नमस्ते दुनिया"),
        ("en", "I O U new york", "i o u new york"),
        ("en", "", ""),
        ("en", " ' ... ", ""),
        ("tr", "IŞIK ve İSTANBUL", "ışık ve istanbul"),
        ("az-Latn-AZ", "IRAQ İRAN", "ıraq iran"),
        ("de", "İstanbul in ISTANBUL", "istanbul in istanbul"),  # no dot over the dot
        ("el", "ΟΔΟΣ", "οδος"),
        ("fa", "می\u200cخواهم، کتاب\u200cها", "می\u200cخواهم کتاب\u200cها"),  # the joiner is spelling
        ("fa", "\u200cسلام\u200c دنیا\u200f", "سلام دنیا"),  # and here it is not
        ("si", "ශ්\u200dරී ලංකා", "ශ්\u200dරී ලංකා"),
        ("de", "Schiff\u00adfahrt, Auf\u200clage\ufeff", "schifffahrt auflage"),
        ("ar", "مرحبا\u200f\u202b بكم", "مرحبا بكم"),
        ("hy", "Ինչո՞ւ", "ինչու"),
        ("ca", "col·lega; para\u0140lel", "col·lega paral·lel"),
        ("he", 'צה"ל וד״ר', "צה״ל וד״ר"),
        ("de", "👍🏽 1️⃣ ok", "eins ok"),
        ("ja-JP", "時々 ２０ 個", "時々二十個"),
        ("th", "ราคา ๒๕ บาท", "ราคายี่สิบห้าบาท"),
        ("my", "မင်္ဂလာ ပါ", "မင်္ဂလာပါ"),
        ("bo", "བོད་སྐད་ནི། བོད་ཡིག་ཡིན།", "བོད་སྐད་ནིབོད་ཡིག་ཡིན"),
        ("ko-KR", "안녕 하세요", "안녕 하세요"),
        ("zh-TW", "2 萬, 3.5 億", "二萬三點五億"),
        ("fa", "۱۲ کتاب", "دوازده کتاب"),
        ("pt_BR", "16", "dezesseis"),
        ("es-MX", "1,234", "mil doscientos treinta y cuatro"),
        ("sr-RS", "Имам 21 годину", "имам двадесет један годину"),
        ("sr-Latn", "Imam 21 godinu", "imam dvadeset jedan godinu"),
        ("est", "12", "12"),  # nobody knows these numbers; num2words takes them for Spanish
        ("fil", "12", "12"),
        ("EN_us", "Dr. No", "doctor no"),
    ],
)
def test_examples(lang: str, text: str, expected: str) -> None:
    assert normalize(text, lang) == expected


STRANGE = [*'İıiIſ·״"lاب्කㅤ', "ག་", "\u0307", "\u0301", "\u200c", "\u200d", "\u200b", "\u00ad", "\ufe0f", "\u034f", "\u055e", "\u1160"]


def test_normalizing_twice_changes_nothing_whatever_the_characters() -> None:
    rng = random.Random(1)
    ranges = [(32, 127), (32, 0x250), (0x250, 0x3000), (0x3000, 0xD7FF), (0xE000, 0x1FFFF)]
    for _ in range(5000):
        letters = [chr(rng.randrange(*rng.choice(ranges))) for _ in range(6)] + [rng.choice("0123456789'., -$") for _ in range(6)]
        letters += rng.sample(STRANGE, 4)
        rng.shuffle(letters)
        lang = rng.choice(["en", "it", "ru", "zh-TW", "ja", "fr", "bg", "tr", "hi", "sq", "uk", "th", "fa", "sr", "ca", "he", "bo"])
        once = normalize("".join(letters), lang)
        assert normalize(once, lang) == once, (lang, letters)
        assert once == " ".join(once.split())
