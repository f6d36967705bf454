"""Which words are taken for which."""

from __future__ import annotations

from m2asr.data.directory import read_table
from m2asr.score.confusions import confusions
from m2asr.score.error_rate import character_errors, word_errors


def test_every_error_is_counted_once(mini_data):
    """Real prompts against those of another language: the totals are those of the error counts."""
    references = list(read_table(mini_data / "test_it" / "text").values())
    hypotheses = list(read_table(mini_data / "test_en" / "text").values())[: len(references)]
    references = references[: len(hypotheses)]
    for count in (word_errors, character_errors):
        errors = count(references, hypotheses)
        counted = confusions(errors)
        assert [count.total() for count in counted] == errors.counts[:, :3].sum(0).tolist()


def test_the_words_are_named():
    errors = word_errors(["call their line", "call their line", "hold"], ["call there line now", "call there", "hold"])
    assert confusions(errors) == ({("their", "there"): 2}, {"line": 1}, {"now": 1})
