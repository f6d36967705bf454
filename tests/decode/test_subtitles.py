"""Cues that can be read: two lines, not too long, in the order of the words."""

from __future__ import annotations

import re

import numpy as np
import pytest

from m2asr.decode.marks import Mark
from m2asr.decode.subtitles import LONGEST, WIDTH, cues, srt, vtt


def speech(count: int, seed: int, letters: str = "abcdefgh") -> list[Mark]:
    rng, at, words = np.random.default_rng(seed), 0.0, []
    for _ in range(count):
        length = rng.integers(1, 14)
        words.append(Mark("".join(rng.choice(list(letters), length)), at, at + 0.07 * length, 1.0))
        at += 0.07 * length + rng.choice([0.05, 0.2, 1.5], p=[0.7, 0.25, 0.05])
    return words


@pytest.mark.parametrize("seed", range(10))
def test_cues_hold_all_words_and_fit(seed):
    words = speech(300, seed)
    result = cues(words)
    assert " ".join(line for cue in result for line in cue.lines).split() == [word.text for word in words]
    for cue, following in zip(result, [*result[1:], None], strict=True):
        assert 1 <= len(cue.lines) <= 2 and all(0 < len(line) <= WIDTH for line in cue.lines)
        assert 0 < cue.end - cue.start <= LONGEST
        assert following is None or cue.end <= following.start
    starts = {word.start for word in words}
    assert all(cue.start in starts for cue in result)
    assert max(len(cue.lines) for cue in result) == 2 and np.mean([len(" ".join(cue.lines)) for cue in result]) > 30


def test_two_lines_are_of_similar_width():
    text = "the conference will begin when our leader arrives"
    words = [Mark(word, n / 2, n / 2 + 0.4, 1.0) for n, word in enumerate(text.split())]
    assert cues(words)[0].lines == ["the conference will begin", "when our leader arrives"]


def test_a_pause_ends_a_cue_and_a_short_cue_stays():
    result = cues([Mark("a", 0.0, 0.2, 1.0), Mark("b", 3.0, 3.1, 1.0), Mark("c", 3.6, 3.7, 1.0), Mark("d", 9.0, 9.1, 1.0)])
    assert [(cue.start, cue.end, cue.lines) for cue in result] == [(0.0, 1.0, ["a"]), (3.0, 4.0, ["b c"]), (9.0, 10.0, ["d"])]


def test_chinese_fills_two_columns_and_needs_no_spaces():
    text = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳"
    words = [Mark(letter, n / 10, n / 10 + 0.1, 1.0) for n, letter in enumerate(text)]
    result = cues(words)
    assert "".join(line for cue in result for line in cue.lines) == "".join(word.text for word in words)
    assert len(result) == 1 and len(result[0].lines) == 2 and all(len(line) <= WIDTH // 2 for line in result[0].lines)


def test_a_word_longer_than_a_line_is_shown_alone():
    result = cues([Mark("a", 0.0, 0.1, 1.0), Mark("b" * 60, 0.1, 0.5, 1.0), Mark("c", 0.6, 0.7, 1.0)])
    assert [cue.lines for cue in result] == [["a"], ["b" * 60], ["c"]]
    assert [cue.end for cue in result] == [0.1, 0.6, 1.6]  # seen for a second where the next one leaves room


def test_formats():
    rows = cues([Mark("a<b", 3661.5, 3662.75, 1.0), Mark("c&d", 3670.0, 3671.0, 1.0)], prefix="2: ")
    assert srt(rows) == "1\n01:01:01,500 --> 01:01:02,750\n2: a<b\n\n2\n01:01:10,000 --> 01:01:11,000\n2: c&d\n\n"
    text = vtt(rows)
    assert text.startswith("WEBVTT\n\n01:01:01.500 --> 01:01:02.750\n2: a&lt;b\n\n") and text.endswith("\n2: c&amp;d\n")
    assert len(re.findall(r"^\d\d:\d\d:\d\d\.\d{3} --> ", text, re.MULTILINE)) == 2
    assert srt([]) == "" and vtt([]).strip() == "WEBVTT"
