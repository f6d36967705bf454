"""Error rates: kinds of errors, the corpus as a whole, empty texts."""

from __future__ import annotations

import jiwer
import pytest

from m2asr.score.error_rate import character_errors, word_errors


def test_kinds_of_errors():
    errors = word_errors(["a b c d", "x y"], ["a x c d e", "x"])
    assert errors.counts.tolist() == [[1, 0, 1, 4], [0, 1, 0, 2]]
    assert errors.rate == pytest.approx(3 / 6)


def test_the_corpus_is_one_text_not_a_mean_over_utterances():
    errors = word_errors(["a b c d e f g h i j", "a"], ["a b c d e f g h i j", "b"])
    assert errors.rate == pytest.approx(1 / 11)


def test_empty_references_and_hypotheses():
    errors = word_errors(["", "a b", ""], ["x y", "", ""])
    assert errors.counts.tolist() == [[0, 0, 2, 0], [0, 2, 0, 2], [0, 0, 0, 0]]


def test_agrees_with_jiwer():
    references = ["please enter your number", "the line is busy", "goodbye"]
    hypotheses = ["please centre your number now", "line is is busy", "good bye"]
    assert word_errors(references, hypotheses).rate == pytest.approx(jiwer.wer(references, hypotheses))
    assert character_errors(references, hypotheses).rate == pytest.approx(jiwer.cer(references, hypotheses))


def test_characters_count_spaces_between_words():
    errors = character_errors(["ab cd"], ["abcd"])
    assert errors.counts.tolist() == [[0, 1, 0, 5]]
    assert character_errors(["你好"], ["你号"]).counts.tolist() == [[1, 0, 0, 2]]
