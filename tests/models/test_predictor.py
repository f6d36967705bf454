"""Predictors step by step, prefixes that change their order, and what no state sees."""

from __future__ import annotations

import pytest
import torch

from m2asr.models.joiner import Joiner
from m2asr.models.predictor import LSTMPredictor, StatelessPredictor

VOCAB, DIM = 7, 8
KINDS = {
    "lstm": lambda dropout=0.0: LSTMPredictor(VOCAB, layers=2, dim=DIM, dropout=dropout),
    "stateless": lambda dropout=0.0: StatelessPredictor(VOCAB, context=2, dim=DIM, dropout=dropout),
    "one token": lambda dropout=0.0: StatelessPredictor(VOCAB, context=1, dim=DIM, dropout=dropout),
}


@pytest.fixture(params=KINDS)
def predictor(request):
    torch.manual_seed(0)
    return KINDS[request.param]().double()


def texts(seed: int = 0) -> torch.Tensor:
    """Tokens (3, 5)."""
    return torch.randint(1, VOCAB, (3, 5), generator=torch.Generator().manual_seed(seed))


def test_step_by_step_equals_all_at_once(predictor):
    """Two prefixes per utterance, which change their order at every step; both begin as copies of the first."""
    paths = torch.stack([texts(), texts(seed=1)], dim=1)  # (B, W, U)
    expected = torch.stack([predictor(texts()), predictor(texts(seed=1))], dim=1)  # (B, W, U + 1, D)
    output, state = predictor.step(predictor.begin(3))
    torch.testing.assert_close(output[:, 0], expected[:, 0, 0], rtol=0, atol=1e-12)
    state = state.select(torch.zeros(3, 2, dtype=torch.long))
    swap = torch.tensor([[1, 0]] * 3)
    for position in range(5):
        output, state = predictor.step(state, paths[:, :, position])
        torch.testing.assert_close(output, expected[:, :, position + 1], rtol=0, atol=1e-12)
        state, paths, expected = state.select(swap), paths.flip(1), expected.flip(1)


def test_several_prefixes_from_the_beginning(predictor):
    output, state = predictor.step(predictor.begin(3, beam=4))
    assert output.shape == (3, 4, DIM)
    output, _ = predictor.step(state, texts()[:, :4])
    for prefix in range(4):
        torch.testing.assert_close(output[:, prefix], predictor(texts()[:, prefix : prefix + 1])[:, 1], rtol=0, atol=1e-12)


def test_a_step_of_some_utterances_leaves_the_others_as_they_are(predictor):
    tokens = texts()
    _, state = predictor.step(predictor.begin(3))
    rows = torch.tensor([0, 2])
    _, after = predictor.step(state.rows(rows), tokens[rows, :1])
    output, _ = predictor.step(state.with_rows(rows, after), tokens[:, 1:2])
    torch.testing.assert_close(output[rows, 0], predictor(tokens[rows, :2])[:, 2], rtol=0, atol=1e-12)
    torch.testing.assert_close(output[1, 0], predictor(tokens[1:2, 1:2])[0, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("position", range(5))
def test_no_state_sees_the_token_that_it_predicts(predictor, position):
    changed = texts()
    changed[:, position] = changed[:, position] % (VOCAB - 1) + 1
    before, after = predictor(texts()), predictor(changed)
    assert torch.equal(before[:, : position + 1], after[:, : position + 1])
    assert (before[:, position + 1] != after[:, position + 1]).any(-1).all()


def test_a_stateless_predictor_sees_the_last_tokens_alone():
    predictor, tokens = KINDS["stateless"]().double(), texts()
    last = predictor(tokens)[:, 5]
    assert torch.equal(predictor(torch.cat([texts(seed=2)[:, :3], tokens[:, 3:]], dim=1))[:, 5], last)
    assert torch.allclose(predictor(tokens[:, 3:])[:, 2], last, rtol=0, atol=1e-12)


def test_empty_texts(predictor):
    assert predictor(torch.zeros(2, 0, dtype=torch.long)).shape == (2, 1, DIM)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_only_while_training(kind):
    torch.manual_seed(0)
    predictor = KINDS[kind](0.5)
    assert not torch.equal(predictor(texts()), predictor(texts()))
    assert torch.equal(predictor.eval()(texts()), predictor(texts()))


@pytest.mark.parametrize("kind", KINDS)
def test_in_mixed_precision(kind):
    predictor = KINDS[kind]()
    with torch.autocast("cpu", torch.bfloat16):
        expected = predictor(texts())
        _, state = predictor.step(predictor.begin(3))
        output, state = predictor.step(state, texts()[:, :1])
    assert all(torch.isfinite(tensor).all() for tensor in state.tensors)
    torch.testing.assert_close(output[:, 0].float(), expected[:, 1].float(), rtol=0.02, atol=0.02)


def test_the_joiner_adds_projections():
    torch.manual_seed(0)
    joiner = Joiner(memory_dim=4, predictor_dim=DIM, vocab=VOCAB, dim=6)
    states, predicted = torch.randn(2, 5, 4), torch.randn(2, 3, DIM)
    encoded, texts_before, weight, bias = joiner(states, predicted)
    logits = joiner.logits(encoded[:, :, None], texts_before[:, None])
    assert logits.shape == (2, 5, 3, VOCAB)
    expected = (joiner.encoded(states)[:, 4] + joiner.predicted(predicted)[:, 2]).tanh() @ weight.T + bias
    torch.testing.assert_close(logits[:, 4, 2], expected)
