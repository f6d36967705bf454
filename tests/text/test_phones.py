"""Phones of texts: the readings of Mandarin in context, letters of other languages, and what has no reading."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from m2asr.errors import UserError
from m2asr.text.normalize import normalize
from m2asr.text.phones import reader_for

PROGRAM = """#!{python}
import sys
voice = sys.argv[sys.argv.index("-v") + 1]
if voice == "xx":
    sys.exit("Error: The specified espeak-ng voice does not exist.")
for line in sys.stdin:  # like espeak-ng: a line per clause, and the flag of another language
    for clause in line.rstrip("\\n").split(" ; "):
        print("_".join("ˈ(en)" + letter if letter == "x" else letter for letter in clause.replace(" ", "").replace(";", "")))
"""


@pytest.fixture
def espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in the place of espeak-ng that prints letters as phones."""
    (tmp_path / "espeak-ng").write_text(PROGRAM.format(python=sys.executable))
    (tmp_path / "espeak-ng").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def read(text: str, lang: str, how: str | None = None) -> tuple[str, str]:
    (reading,) = reader_for(lang, how)([text])
    return tuple(reading)


@pytest.mark.parametrize(
    "text, phones",
    [
        ("你好", "n i3 h ao3"),
        ("银行 行走", "in2 h ang2 x ing2 z ou3"),  # the phrase decides
        ("长大 长江", "zh ang3 d a4 ch ang2 j iang1"),
        ("绿女去", "l v4 n v3 q v4"),
        ("我的", "uo3 d e5"),
        ("嗯", "n2"),
        ("2008年", "er4 l ing2 l ing2 b a1 n ian2"),
        ("3.5", "s an1 d ian3 u3"),
        ("50%", "b ai3 f en1 zh i1 u3 sh i2"),
        ("KTV, ok!", "K T V O K"),
        ("", ""),
    ],
)
def test_mandarin(text: str, phones: str) -> None:
    assert read(text, "zh") == (phones, "")


def test_mandarin_is_what_pypinyin_reads_with_initials_and_toned_finals_apart() -> None:
    from pypinyin import Style, lazy_pinyin
    from pypinyin.phrases_dict import phrases_dict

    texts = [normalize("".join(phrases), "zh") for phrases in zip(*[iter(list(phrases_dict)[::40])] * 4, strict=False)]
    for text, reading in zip(texts, reader_for("zh")(texts), strict=True):
        syllables = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True)
        phones = reading.phones.split()
        assert [phone[-1] for phone in phones if phone[-1].isdecimal()] == [syllable[-1] for syllable in syllables]
        assert all(re.fullmatch(r"[zcs]h|[bpmfdtnlgkhjqxrzcs]|[a-zê]+[1-5]", phone) for phone in phones) and not reading.unread


def test_other_languages_are_read_letter_by_letter() -> None:
    assert read("L'Università!", "it") == ("l u n i v e r s i t à", "")
    assert read("Dr. Who, 12", "en") == ("d o c t o r w h o t w e l v e", "")
    assert read("हिन्दी", "hi") == ("ह ि न ् द ी", "")
    assert read("nr. 12", "sq") == ("n r", "12")  # nothing knows its numbers


def test_what_has_no_reading_is_left_out_and_told() -> None:
    assert read("你привет好", "zh") == ("n i3 h ao3", "привет")
    with pytest.raises(UserError, match="--how pypinyin: it reads Mandarin"):
        reader_for("en", "pypinyin")


@pytest.mark.usefixtures("espeak")
def test_espeak_keeps_texts_apart_also_those_of_several_clauses(monkeypatch: pytest.MonkeyPatch) -> None:
    from m2asr.text import espeak

    monkeypatch.setattr(espeak, "LONGEST", 20)
    texts = ["ab c", "", "xa ; b", "a ; b ; c", "long " * 10, "z"]
    expected = ["a b c", "", "x a b", "a b c", " ".join("long" * 10), "z"]
    assert espeak.read_aloud(texts, "en") == expected
    assert [reading.phones for reading in reader_for("en", "espeak")(["Ab, c!", ""])] == ["a b c", ""]
    assert reader_for("ru", "espeak")(["да, ok"]) == [("д а", "ok")]
    with pytest.raises(UserError, match="--how espeak: it reads the tones of Mandarin as numbers"):
        reader_for("zh", "espeak")


def test_a_missing_program_and_a_missing_voice_are_told(espeak: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="espeak-ng cannot read xx: Error: The specified espeak-ng voice does not exist"):
        reader_for("xx", "espeak")(["a"])
    (tmp_path / "espeak-ng").unlink()
    with pytest.raises(UserError, match="apt-get install espeak-ng"):
        reader_for("en", "espeak")(["a"])
