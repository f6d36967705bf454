"""Error rates: kinds of errors, the corpus as a whole, empty texts."""

from __future__ import annotations

import jiwer
import pytest

from m2asr.score.error_rate import character_errors, metrics_of, mixed_errors, word_errors


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


def test_aligned_tokens_are_the_two_texts():
    """Left and right side of the columns, empty ones left out, are the tokens; the kinds of columns are what is counted."""
    references, hypotheses = ["a b c d", "", "x y", "i j"], ["a x c d e", "q", "", "i j"]
    for count in (word_errors, character_errors):
        errors = count(references, hypotheses)
        for row in range(len(references)):
            columns = list(errors.aligned(row))
            assert [reference for reference, _ in columns if reference] == errors.references[row]
            assert [hypothesis for _, hypothesis in columns if hypothesis] == errors.hypotheses[row]
            kinds = [(bool(reference), bool(hypothesis)) for reference, hypothesis in columns if reference != hypothesis]
            assert [kinds.count(kind) for kind in ((True, True), (True, False), (False, True))] == errors.counts[row, :3].tolist()


def test_mixed_tokens_are_words_and_characters_of_scripts_without_spaces():
    errors = mixed_errors(["我用 python 写程序", "สวัสดี ok"], ["我用pythom 写程序", "สวัสด ok"])
    assert errors.references == [["我", "用", "python", "写", "程", "序"], [*"สวัสดี", "ok"]]
    assert errors.counts.tolist() == [[1, 0, 0, 6], [0, 1, 0, 7]]
    assert mixed_errors(["hold the line"], ["hold line"]).counts.tolist() == word_errors(["hold the line"], ["hold line"]).counts.tolist()
    assert mixed_errors(["你好吗"], ["你号吗"]).counts.tolist() == character_errors(["你好吗"], ["你号吗"]).counts.tolist()


def test_a_sentence_is_no_word():
    assert metrics_of(["hold the line"], ["en"]) == metrics_of(["안녕 하세요"], ["ko-KR"]) == ["wer", "cer"]
    assert metrics_of(["你好吗"], ["zh-CN"]) == metrics_of(["สวัสดี"], ["tha"]) == ["cer"]
    assert metrics_of(["我用 python"], ["cmn"]) == metrics_of(["你好", "hello"], ["zh", "en"]) == ["mer", "cer"]
    assert metrics_of(["saya suka 你好"], ["ms"]) == ["wer", "mer", "cer"]
