from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from m2asr.lm.arpa import read_arpa
from m2asr.lm.ngram import NgramModel
from tests.lm.models import ARPA, Recursion


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    return path


@pytest.fixture
def model(arpa: Path) -> NgramModel:
    NgramModel.from_table(read_arpa(arpa)).save(arpa.with_name("lm.bin"))
    return NgramModel.load(arpa.with_name("lm.bin"))


def test_rows_and_scores_equal_the_recursion_after_every_history(model: NgramModel, arpa: Path) -> None:
    recursion, rng = Recursion(arpa), random.Random(1)
    predicted = [number for number, word in enumerate(model.words) if word != "<s>"]
    for _ in range(100):
        history, state = ("<s>",), torch.tensor([model.start])
        for _ in range(rng.randrange(6)):
            word = rng.choice(["a", "b", "<unk>"])
            expected = recursion.score(history, word)
            score, state = model.scores(state, torch.tensor(model.ids([word])))
            assert score.item() == pytest.approx(expected, abs=1e-5)
            history = (*history, word)
        expected = [recursion.score(history, model.words[number]) for number in predicted]
        torch.testing.assert_close(model.rows(state)[0, predicted], torch.tensor(expected), atol=1e-5, rtol=0)
