"""Languages by their codes: one meaning, however it is written."""

from __future__ import annotations

import pytest

from m2asr.text.language import CODE, Language, language_of
from m2asr.text.normalize import normalize

CODES = "en zh-HK yue ja jpn ja-Latn th tha km my lo bo dzo khb ko ar fa-IR ur he yi tr az-AZ az-Cyrl kk kk-Latn zh-Latn"
CHINESE = ("zh", "ZH", "zh-CN", "zh_CN", "zh_cn.UTF-8", "zho", "chi", "cmn", "cmn_hans_cn", "cn", "zh-Hans-SG", "zh-cmn", "zho_Hans")


@pytest.mark.parametrize("code", CHINESE)
def test_codes_of_a_language_mean_the_same(code: str) -> None:
    assert (language_of(code).code, language_of(code).scripts) == ("zh", {"Hans"})
    assert normalize("我 有 12 个", code) == "我有十二个"


@pytest.mark.parametrize(
    "code, expected",
    [
        ("en-US", Language("en", frozenset({"Latn"}), "US")),
        ("es-419", Language("es", frozenset({"Latn"}), "419")),
        ("zh-TW", Language("zh", frozenset({"Hant"}), "TW")),
        ("zh-yue", Language("yue", frozenset({"Hant"}))),
        ("zh-min-nan", Language("nan", frozenset({"Hant"}))),
        ("zh-Latn-pinyin", Language("zh", frozenset({"Latn"}))),
        ("sr", Language("sr", frozenset({"Cyrl", "Latn"}))),
        ("srp_Latn_RS", Language("sr", frozenset({"Latn"}), "RS")),
        ("pa-PK", Language("pa", frozenset({"Arab"}), "PK")),
        ("pes", Language("fa", frozenset({"Arab"}))),
        ("iw", Language("he", frozenset({"Hebr"}))),
        ("de-DE-u-co-phonebk", Language("de", frozenset({"Latn"}), "DE")),
        ("und", Language("und", frozenset({"Latn"}))),
    ],
)
def test_codes_name_language_script_and_region(code: str, expected: Language) -> None:
    assert CODE.fullmatch(code) and language_of(code) == expected


def test_scripts_tell_how_texts_are_written() -> None:
    def with_property(name: str) -> set[str]:
        return {code for code in CODES.split() if getattr(language_of(code), name)}

    assert with_property("unspaced") == {"zh-HK", "yue", "ja", "jpn", "th", "tha", "km", "my", "lo", "bo", "dzo", "khb"}
    assert with_property("chinese") == with_property("traditional") == {"zh-HK", "yue"}
    assert with_property("right_to_left") == {"ar", "fa-IR", "ur", "he", "yi"}
    assert with_property("dotted_i") == {"tr", "az-AZ", "kk-Latn"}


@pytest.mark.parametrize("code", ["english", "", "x", "en+it", "en it", "e1"])
def test_what_is_no_code(code: str) -> None:
    assert not CODE.fullmatch(code)
