from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2asr.lm.build import estimate_model
from m2asr.lm.ngram import NgramModel
from m2asr.lm.perplexity import measure
from m2asr.lm.sources import Sources


def test_perplexity_is_that_of_the_sentences_one_by_one(mini_data: Path, tmp_path: Path) -> None:
    model = NgramModel.from_table(estimate_model(Sources([mini_data / "train_en"]), 3, [0] * 3, 0.0, tmp_path).table)
    test = list(Sources([mini_data / "test_en"]))
    scores = np.array([score for words in test for score in model.sentence(words)])
    in_model = np.array([word in model.index for words in test for word in [*words, "</s>"]])
    perplexity = measure(model, test)
    assert (perplexity.sentences, perplexity.words, perplexity.unknown) == (len(test), len(scores), (~in_model).sum())
    assert perplexity.with_unknown == pytest.approx(np.exp(-scores.mean()), rel=1e-6)
    assert perplexity.without_unknown == pytest.approx(np.exp(-scores[in_model].mean()), rel=1e-6)
