"""Tables of scores: what the model itself says, however little of it is kept."""

from __future__ import annotations

import random

import pytest
import torch

from m2asr.decode import prefix_table
from m2asr.decode.fusion import Fusion
from m2asr.decode.hotwords import HotWords
from m2asr.decode.prefix_beam import prefix_beam
from m2asr.decode.prefix_table import PrefixTable
from m2asr.decode.token_lm import TokenNgram
from m2asr.decode.word_lm import WordNgram
from tests.decode.small import TEXTS, ctc_output, estimated, letters, walk

TOKENIZER = letters(" ab")
VOCAB = TOKENIZER.size


@pytest.fixture(scope="module", params=["tokens", "words", "hot"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    if request.param == "tokens":
        return TokenNgram(estimated(folder, TEXTS, TOKENIZER), TOKENIZER, "lm")
    if request.param == "words":
        return WordNgram(estimated(folder, TEXTS), TOKENIZER, "lm")
    return HotWords(["ab", "b a", "abba a"], TOKENIZER)


@pytest.fixture
def tiny(monkeypatch):
    """Tables that are full at once."""
    monkeypatch.setattr(prefix_table, "LEAST_ROWS", 3)


def follow(table: PrefixTable, batch: int, beam: int, steps: int, seed: int) -> None:
    """Walk with B x W prefixes that fork and end as in a search, and hold every score against the model asked directly."""
    rng = random.Random(seed)
    rows = torch.full((batch, beam), table.start())
    texts = [[[] for _ in range(beam)] for _ in range(batch)]
    totals = torch.zeros(batch, beam)
    for _ in range(steps):
        source = torch.tensor([[rng.randrange(beam) for _ in range(beam)] for _ in range(batch)])
        tokens = torch.tensor([[rng.choice([-1, *range(1, VOCAB - 1)]) for _ in range(beam)] for _ in range(batch)])
        rows, totals = rows.gather(1, source), totals.gather(1, source)
        gained = table.gains(rows, tokens.clamp(min=0)).diagonal(dim1=1, dim2=2)  # of every prefix with its own token
        totals = totals + gained.masked_fill(tokens < 0, 0.0)
        rows = table.advance(rows, tokens)
        texts = [
            [texts[row][origin] + [token] * (token >= 0) for origin, token in zip(source[row].tolist(), tokens[row].tolist(), strict=True)]
            for row in range(batch)
        ]
    for row in range(batch):
        for index, text in enumerate(texts[row]):
            *inner, end = walk(table.model, text)
            assert float(totals[row, index]) == pytest.approx(sum(inner), abs=1e-4)
            assert float(table.scores[rows[row, index], -1]) == pytest.approx(end, abs=1e-5)


def test_a_table_says_what_the_model_says(model):
    table = PrefixTable(model)
    for seed in range(4):
        follow(table, batch=3, beam=5, steps=12, seed=seed)


def test_a_full_table_begins_anew(model, tiny):
    table = PrefixTable(model, memory=1)
    for seed in range(4):
        follow(table, batch=3, beam=5, steps=12, seed=seed)
    assert table.count <= 1 + 3 * 5


def test_prefixes_without_a_token_more_keep_their_rows(model):
    table = PrefixTable(model)
    rows = torch.full((2, 3), table.start())
    assert torch.equal(table.advance(rows, torch.full((2, 3), -1)), rows) and table.count == 1


def test_a_full_table_changes_no_result(model, tiny):
    log_probs, lengths = ctc_output(6, 40, VOCAB, seed=1), torch.tensor([40, 35, 20, 3, 1, 0])
    roomy = PrefixTable(model)
    roomy.capacity = 1 << 20
    expected = prefix_beam(log_probs, lengths, 8, 4, Fusion([(0.7, roomy)], 1.0))
    full = PrefixTable(model, memory=1)
    assert full.capacity == 3
    restarts = []
    full._restart = lambda *arguments: restarts.append(1) or PrefixTable._restart(full, *arguments)
    assert prefix_beam(log_probs, lengths, 8, 4, Fusion([(0.7, full)], 1.0)) == expected
    assert len(restarts) > 5
    again = prefix_beam(log_probs, lengths, 8, 4, Fusion([(0.7, full)], 1.0))  # with the table that the last search left
    assert again == expected


def test_states_are_met_once(model):
    class Recorded:
        vocab, start = VOCAB, model.start

        def expand(self, states):
            expanded.extend(states)
            return model.expand(states)

    table, expanded = PrefixTable(Recorded()), []
    for _ in range(3):
        prefix_beam(ctc_output(2, 20, VOCAB, seed=2), torch.tensor([20, 20]), 6, 4, Fusion([(0.7, table)]))
    assert len(expanded) == len(set(expanded)) == table.count


def test_a_table_serves_searches_with_and_without_gradients(model):
    """Recognition runs in torch's inference mode; later searches use its table outside of that mode."""
    table = PrefixTable(model)
    log_probs, lengths = ctc_output(2, 60, VOCAB, seed=3), torch.tensor([60, 50])
    table._clear(1)
    with torch.inference_mode():
        first = prefix_beam(log_probs[:, :30], lengths - 30, 6, 4, Fusion([(0.7, table)]))
    assert prefix_beam(log_probs[:, :30], lengths - 30, 6, 4, Fusion([(0.7, table)])) == first
    prefix_beam(log_probs, lengths, 30, 4, Fusion([(0.7, table)]))
