from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from m2asr.lm import counts
from m2asr.lm.corpus import number_words
from m2asr.lm.counts import count_ngrams


@pytest.mark.parametrize("chunk", [counts.CHUNK, 100, 7])
def test_counts_equal_those_of_a_dictionary(
    chunk: int, sentences: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a text is counted in chunks, which may end within sentences."""
    monkeypatch.setattr(counts, "CHUNK", chunk)
    sentences = [*sentences[:100], ["single"]]
    corpus = number_words(sentences, tmp_path / "ids")
    assert corpus.sentences == 101 and corpus.tokens == sum(map(len, sentences))
    orders = count_ngrams(corpus.ids, len(corpus.words), 4, corpus.words.index("<s>"), tmp_path)
    spelled: list[list[tuple[str, ...]]] = [[()]]
    for n, order in enumerate(orders, 1):
        ngrams = [(*spelled[-1][row], corpus.words[word]) for row, word in zip(order.context, order.word, strict=True)]
        expected: Counter[tuple[str, ...]] = Counter()
        for sentence in sentences:
            padded = ("<s>", *sentence, "</s>")
            expected.update(padded[i : i + n] for i in range(len(padded) - n + 1))
        assert {ngram: count for ngram, count in zip(ngrams, order.count, strict=True) if count} == expected
        assert [ngram[0] == "<s>" for ngram in ngrams] == order.bos.tolist()
        if n > 1:
            assert [ngram[1:] for ngram in ngrams] == [spelled[-1][row] for row in order.suffix]
            assert (np.diff(order.context * np.int64(len(corpus.words)) + order.word) > 0).all()
        spelled.append(ngrams)


def test_orders_end_with_the_longest_sentence(tmp_path: Path) -> None:
    corpus = number_words([["a"], ["a", "b"]], tmp_path / "ids")
    assert [len(order) for order in count_ngrams(corpus.ids, len(corpus.words), 9, 1, tmp_path)] == [5, 4, 3, 1]
