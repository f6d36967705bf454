"""Greedy search of a transducer equals the search written out cell by cell, alone and in a batch."""

from __future__ import annotations

import pytest
import torch

from m2asr.models.joiner import Joiner
from m2asr.models.predictor import LSTMPredictor, StatelessPredictor
from m2asr.models.transducer import greedy

VOCAB, DIM = 6, 8
LENGTHS = torch.tensor([9, 0, 4, 1])


def model(kind=LSTMPredictor, seed=0):
    torch.manual_seed(seed)
    joiner = Joiner(4, DIM, VOCAB, dim=16).double()
    with torch.no_grad():
        joiner.output.weight.mul_(4)
        joiner.output.bias[0] += 0.5  # more blanks
    return kind(VOCAB, dim=DIM, dropout=0.0).double(), joiner, torch.randn(4, 9, 4, dtype=torch.float64)


def by_hand(states, predictor, joiner, max_symbols):
    """One utterance (T, S): the whole text goes through the predictor for every cell."""
    text, score = [], 0.0
    for state in states:
        for symbol in range(max_symbols + 1):
            predicted = predictor(torch.tensor([text], dtype=torch.long))[0, -1]
            log_probs = joiner.logits(joiner.encoded(state), joiner.predicted(predicted)).log_softmax(-1)
            token = int(log_probs.argmax()) if symbol < max_symbols else 0
            score += float(log_probs[token])
            if token == 0:
                break
            text.append(token)
    return text, score


@pytest.mark.parametrize("kind", [LSTMPredictor, StatelessPredictor])
@pytest.mark.parametrize("max_symbols", [1, 2, 5])
def test_every_utterance_of_a_batch_is_searched_as_if_alone(kind, max_symbols):
    written = 0
    for seed in range(4):
        predictor, joiner, states = model(kind, seed)
        with torch.no_grad():
            texts, scores = greedy(states, LENGTHS, predictor, joiner, max_symbols)
            for row, length in enumerate(LENGTHS.tolist()):
                expected, score = by_hand(states[row, :length], predictor, joiner, max_symbols)
                assert texts[row] == expected and scores[row] == pytest.approx(score, abs=1e-9)
        written += sum(map(len, texts))
        assert texts[1] == [] and all(len(text) <= max_symbols * length for text, length in zip(texts, LENGTHS.tolist(), strict=True))
    assert written > 4


def test_padding_is_not_read():
    predictor, joiner, states = model()
    with torch.no_grad():
        expected = greedy(states, LENGTHS, predictor, joiner, 3)
        assert greedy(torch.cat([states, 9 + states], dim=1), LENGTHS, predictor, joiner, 3) == expected


def test_nothing_to_search():
    predictor, joiner, states = model()
    assert greedy(states[:2], torch.tensor([0, 0]), predictor, joiner, 3) == ([[], []], [0.0, 0.0])
