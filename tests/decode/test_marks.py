"""Seconds of states, tokens and words."""

from __future__ import annotations

import pytest
import torch

from m2asr.config import FbankConfig
from m2asr.decode.ctc_align import Alignment
from m2asr.decode.marks import Mark, StateTimes, join_words, token_marks, word_marks
from m2asr.models.subsampling import Convolutions
from m2asr.text.tokenizer import Tokenizer


@pytest.mark.parametrize("config", [FbankConfig(), FbankConfig(frame_length=20.0, frame_shift=12.5)])
def test_a_state_lies_in_the_middle_of_the_frames_it_sees(config):
    """Found by changing one frame at a time and looking at which states change."""
    times, front = StateTimes.of(config), Convolutions(feat_dim=16, dim=8, separable=True)
    feats = torch.randn(1, 40, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = front(feats)
        changed = [(front(feats.index_fill(1, torch.tensor([frame]), 5.0)) != plain).any(2)[0] for frame in range(40)]
    for state in range(plain.shape[1]):
        frames = [frame for frame in range(40) if changed[frame][state]]
        begin, end = frames[0] * config.frame_shift, frames[-1] * config.frame_shift + config.frame_length  # ms
        assert (times.start(state) + times.start(state + 1)) / 2 == pytest.approx((begin + end) / 2000)
        assert times.start(state + 1) - times.start(state) == pytest.approx(4 * config.frame_shift / 1000)


def test_the_labels_of_a_state_share_its_time():
    states, labels = StateTimes.of(FbankConfig()), StateTimes.of(FbankConfig(), upsampling=2)
    for state in range(5):
        assert labels.start(2 * state) == pytest.approx(states.start(state))
        assert labels.start(2 * state + 1) == pytest.approx((states.start(state) + states.start(state + 1)) / 2)


def test_tokens_last_from_their_first_to_their_last_state_within_the_recording():
    tokenizer = Tokenizer("char", ["<blank>", "<unk>", "a", "▁", "<sos/eos>"])
    alignment = Alignment([2, 3, 1], [0, 4, 9], [3, 5, 12], [0.5, 0.25, 1.0], -1.0)
    marks = token_marks(alignment, tokenizer, StateTimes(0.01, 0.04), seconds=0.45)
    assert [mark.text for mark in marks] == ["a", "▁", "⁇"]
    assert [mark.confidence for mark in marks] == [0.5, 0.25, 1.0]
    assert [(round(mark.start, 3), round(mark.end, 3)) for mark in marks] == [(0.01, 0.13), (0.17, 0.21), (0.37, 0.45)]


def test_an_unknown_word_among_words_is_a_word():
    tokenizer = Tokenizer("words", ["<blank>", "<unk>", "▁ao3", "▁h", "<sos/eos>"])
    alignment = Alignment([3, 1, 2], [0, 4, 9], [3, 5, 12], [0.5, 0.25, 1.0], -1.0)
    words = word_marks(token_marks(alignment, tokenizer, StateTimes(0.01, 0.04), seconds=1.0))
    assert [word.text for word in words] == ["h", "⁇", "ao3"] and [word.confidence for word in words] == [0.5, 0.25, 1.0]


def marks(*pieces: str) -> list[Mark]:
    """Pieces one after the other, a second each, with confidences 0.1, 0.2 ..."""
    return [Mark(piece, float(n), n + 1.0, (n + 1) / 10) for n, piece in enumerate(pieces)]


def test_words_end_at_spaces():
    words = word_marks(marks("a", "b", "▁", "c"))
    assert [(word.text, word.start, word.end) for word in words] == [("ab", 0.0, 2.0), ("c", 3.0, 4.0)]
    assert [word.confidence for word in words] == pytest.approx([0.15, 0.4])


def test_words_of_pieces():
    words = word_marks(marks("▁the", "▁", "re", "co", "rd▁s"))
    assert [(word.text, word.start) for word in words] == [("the", 0.0), ("record", 2.0), ("s", pytest.approx(4 + 2 / 3))]
    assert words[1].end == pytest.approx(4 + 2 / 3) and words[2].end == pytest.approx(5.0)


def test_chinese_characters_are_words():
    words = word_marks(marks("▁你好", "吗", "ok", "ay", "我"))
    assert [word.text for word in words] == ["你", "好", "吗", "okay", "我"]
    assert [(word.start, word.end) for word in words] == [(0.0, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 5.0)]
    assert join_words([word.text for word in words]) == "你好吗okay我"
    assert join_words(["who", "is", "there"]) == "who is there"


def test_no_tokens_are_no_words():
    assert word_marks([]) == [] and word_marks(marks("▁", "▁")) == [] and join_words([]) == ""
