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
    known = np.array([word in model.index for words in test for word in [*words, "</s>"]])
    found = measure(model, test)
    assert (found.sentences, found.words, found.unknown) == (len(test), len(scores), (~known).sum())
    assert found.with_unknown == pytest.approx(np.exp(-scores.mean()), rel=1e-6)
    assert found.without_unknown == pytest.approx(np.exp(-scores[known].mean()), rel=1e-6)
