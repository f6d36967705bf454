"""An utterance as HTML: both texts can be read back, nothing of the data becomes markup, languages keep their direction."""

from __future__ import annotations

import re
from html import unescape

import pytest

from m2asr.data.directory import read_table
from m2asr.score.decoded import Decoded
from m2asr.score.error_rate import mixed_errors
from m2asr.score.page_cards import aligned, card

ELEMENTS = {"article", "header", "h3", "p", "noscript", "audio", "section", "b", "span", "del", "ins", "u", "dl", "div", "dt", "dd"}


def read_back(line):
    """Reference and hypothesis of an aligned line: what stands outside of <ins>, and outside of <del>."""
    line = re.sub("</?(span|u)[^>]*>", "", line)
    texts = (re.sub(f"<{side}>.*?</{side}>", "", line) for side in ("ins", "del"))
    return tuple(" ".join(unescape(re.sub("</?(del|ins)>", "", text)).split()) for text in texts)


def line_of(reference, hypothesis, lang="en"):
    return aligned(mixed_errors([reference], [hypothesis]), 0)


def answer(reference, hypothesis, lang="en", objective="asr", chrf=None):
    errors = mixed_errors([reference], [hypothesis]) if chrf is None else None
    task = "asr" if chrf is None else "st"
    texts = [reference], [hypothesis]
    return Decoded("greedy", "test", objective, task, lang, ["utt"], *texts, [lang], 1, errors, [] if chrf is None else [chrf])


def html_of(*answers, utt="utt", name="test", source=""):
    return "".join(card(utt, name, 1.5, source, [(decoded, 0) for decoded in answers]))


def test_both_texts_can_be_read_back(mini_data):
    """Real prompts, each against the next one of its language."""
    for lang in ("en", "it", "ru"):
        texts = list(read_table(mini_data / f"test_{lang}" / "text").values())
        for reference, hypothesis in zip(texts, texts[1:], strict=False):
            assert read_back(line_of(reference, hypothesis, lang)) == (reference, hypothesis)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "html"),
    [
        ("hold the line", "hold the line", "hold the line"),
        ("increase it", "increas it", '<span class="s"><del>increas<u>e</u></del><ins>increas</ins></span> it'),
        ("a long line", "long line now", '<span class="d"><del>a</del></span> long line <span class="i"><ins>now</ins></span>'),
        ("", "now", '<span class="i"><ins>now</ins></span>'),
        ("yes", "no", '<span class="s"><del>yes</del><ins>no</ins></span>'),  # too unlike to underline characters
        ("की", "का", '<span class="s"><del>की</del><ins>का</ins></span>'),  # a vowel sign stays with its letter
    ],
)
def test_errors_are_columns(reference, hypothesis, html):
    line = line_of(reference, hypothesis)
    assert line == html and read_back(line) == (reference, hypothesis)


def test_characters_of_chinese_have_no_spaces_between_them():
    assert line_of("你好吗", "你号吗", "zh") == '你<span class="s"><del>好</del><ins>号</ins></span>吗'
    assert line_of("我用 python 写 lua", "我用 python 写 lua", "zh") == "我用python写lua"
    assert "no errors in 4 tokens" in html_of(answer("我用 ok 好", "我用 ok 好", "zh"))
    html = html_of(answer("你好吗", "你号吗", "zh"))
    assert "1 error in 3 characters · 33 % · 1 sub" in html and 'lang="zh"' in html


def test_figures_are_told():
    assert "no errors in 2 words<" in html_of(answer("hold on", "hold on"))
    assert "2 errors in 1 word · 200 % · 1 sub, 1 ins" in html_of(answer("a", "b c"))
    assert "1 error in 0 words · 1 ins" in html_of(answer("", "b"))
    assert 'data-errors="2" data-tokens="1"' in html_of(answer("a", "b c"))
    assert 'data-chrf="34.6"' in html_of(answer("a", "b c", chrf=34.56))


def test_nothing_of_the_data_is_markup():
    nasty = "<script>alert(1)</script>&amp;\"'"
    pairs = ((nasty, nasty + "x"), (nasty, "other"), (nasty, ""), ("", nasty), (nasty, nasty))
    answers = [answer(*pair, nasty, nasty) for pair in pairs] + [answer(*pair, nasty, nasty, 1.0) for pair in pairs]
    html = html_of(*answers, utt=nasty, name=nasty, source=nasty)
    assert set(re.findall("<([a-z0-9]+)", html)) <= ELEMENTS
    attributes = re.findall(r'<[^<>]*?((?: [a-z-]+(?:="[^"<>]*")?)*)>', html)
    assert "alert" not in re.sub('"[^"]*"', "", "".join(attributes))
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;&quot;&#x27;") > 4 * len(answers)


def test_directions_of_scripts():
    html = html_of(answer("مرحبا بكم", "مرحبا", "ar"), answer("ciao", "ciao", "it"), answer("שלום", "", "he", "st", 5.0))
    attributes = re.findall('<(?:p class="aligned"|dd class="[a-z]+") ([^>]*)>', html)
    assert attributes == ['lang="ar" dir="rtl"', 'lang="it"', 'lang="he" dir="rtl"', 'lang="he" dir="rtl"']


def test_players():
    """A player only where there is something to play."""
    assert '<audio controls preload="none" src="a%23b.wav#t=1,2"></audio>' in html_of(answer("a", "a"), source="a%23b.wav#t=1,2")
    assert "<audio" not in html_of(answer("a", "a")) and "no player" in html_of(answer("a", "a"))
