"""Text models in token-by-token search and in rescoring: a wide beam is brute force, an early stop loses nothing."""

from __future__ import annotations

import math

import pytest
import torch

from m2asr.decode.attention import AttentionPrefix, rescore, text_scores
from m2asr.decode.beam import beam_search
from m2asr.decode.ctc_prefix import CTCPrefix
from m2asr.decode.fusion import FusedPrefix, Fusion
from m2asr.decode.hotwords import HotWords
from m2asr.decode.prefix_beam import prefix_beam
from m2asr.decode.prefix_table import PrefixTable
from m2asr.decode.token_lm import TokenNgram
from m2asr.decode.word_lm import WordNgram
from tests.decode.small import estimated, letters, walk
from tests.decode.test_beam import EOS, LIMIT, TEXTS, VOCAB, WIDE, brute_force, ctc_score, decoder, utterances

TOKENIZER = letters(" a")  # blank, unknown, space, a, end: those of test_beam
SENTENCES = ["a aa", "aa a", "aa", "a a a", "aaa a"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    return {
        "tokens": TokenNgram(estimated(folder, SENTENCES, TOKENIZER), TOKENIZER, "lm"),
        "words": WordNgram(estimated(folder, SENTENCES), TOKENIZER, "lm"),
        "hot": HotWords(["aa", "a a"], TOKENIZER),
    }


def fuse(models, weights, bonus):
    return Fusion([(weight, PrefixTable(models[name])) for name, weight in weights.items()], bonus)


def text_score(models, weights, bonus, text):
    """What text models add to a text, asked directly."""
    return sum(weight * sum(walk(models[name], text)) for name, weight in weights.items()) + bonus * len(text)


def search(memory, ctc, lengths, beam, ctc_weight, penalty, fusion, limits=None, most_gain=None):
    scorers = [(1 - ctc_weight, AttentionPrefix(decoder(), memory, lengths, beam, None))]
    if ctc_weight:
        scorers.append((ctc_weight, CTCPrefix(ctc, lengths, beam, EOS)))
    scorers.append((1.0, FusedPrefix(fusion, len(lengths), beam, VOCAB, memory.device)))
    limits = torch.full_like(lengths, LIMIT) if limits is None else limits
    with torch.inference_mode():
        return beam_search(scorers, limits, EOS, beam, penalty, fusion.most_gain if most_gain is None else most_gain)


ADDED = [
    ({"tokens": 0.6}, 0.0),
    ({"words": 0.8}, 0.0),
    ({"hot": 1.5}, 0.0),
    ({}, 2.0),
    ({}, -1.0),
    ({"tokens": 0.5, "words": 0.4, "hot": 1.0}, 3.0),
]


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
@pytest.mark.parametrize(("weights", "bonus"), ADDED)
def test_a_wide_beam_is_brute_force(weights, bonus, ctc_weight, penalty, models):
    memory, ctc, lengths = utterances([6, 3], seed=len(weights))
    results = search(memory, ctc, lengths, WIDE, ctc_weight, penalty, fuse(models, weights, bonus))
    for row, hypotheses in enumerate(results):
        bare = brute_force(memory[row], ctc[row], int(lengths[row]), ctc_weight, penalty=0.0)
        expected = {
            text: (score + text_score(models, weights, bonus, list(text))) / (len(text) + 1) ** penalty for text, score in bare.items()
        }
        assert hypotheses[0].score == pytest.approx(max(expected.values()), abs=1e-5)
        assert expected[tuple(hypotheses[0].tokens)] == pytest.approx(max(expected.values()), abs=1e-5)
        for hypothesis in hypotheses:
            assert hypothesis.score == pytest.approx(expected[tuple(hypothesis.tokens)], abs=1e-5)


class Steps:
    """A scorer whose tokens have random log-probabilities at every step: an improbable token may come before probable ones."""

    def __init__(self, beam, table):
        self.table = table  # (B, U, V)
        self.step, self.total = 0, torch.zeros(len(table), beam, dtype=torch.float64)

    @classmethod
    def drawn(cls, batch, beam, seed):
        torch.manual_seed(seed)
        return cls(beam, (4 * torch.randn(batch, 13, VOCAB, dtype=torch.float64)).log_softmax(-1))

    def scores(self):
        self.extended = self.total[:, :, None] + self.table[:, None, self.step]
        return self.extended

    def advance(self, source, token):
        self.total, self.step = self.extended.flatten(1).gather(1, source * VOCAB + token), self.step + 1

    def keep(self, utts):
        self.table, self.total = self.table[utts], self.total[utts]


@pytest.mark.parametrize("penalty", [0.0, 0.3, 1.0])
def test_an_early_stop_loses_nothing(penalty, models):
    """A text may become the best through the bonuses of later tokens: the best is the same where nothing stops early."""
    limits, differences = torch.tensor([12, 7, 2]), 0

    def best(weights, bonus, seed, most_gain=None):
        fusion = fuse(models, weights, bonus)
        scorers = [(1.0, Steps.drawn(3, 4, seed)), (1.0, FusedPrefix(fusion, 3, 4, VOCAB, torch.device("cpu")))]
        results = beam_search(scorers, limits, EOS, 4, penalty, fusion.most_gain if most_gain is None else most_gain)
        return [hypotheses[0] for hypotheses in results]

    for seed in range(12):
        for weights, bonus in (({"tokens": 0.3}, 3.0), ({"hot": 4.0}, 0.5), ({"tokens": 0.8}, -0.5), ({}, 2.0)):
            assert best(weights, bonus, seed) == best(weights, bonus, seed, most_gain=1e6)
            differences += best(weights, bonus, seed) != best(weights, bonus, seed, most_gain=0.0)
    assert differences > 5  # a search that does not know the bonus does lose texts


def test_an_early_stop_divides_by_the_length_that_is_best():
    """Under a large penalty and a large bonus a text of two tokens is the best: longer ones are worse, yet it came after one of one."""
    table = torch.full((1, 13, VOCAB), 1e-9, dtype=torch.float64)
    table[0, 0, 3], table[0, 1, 3], table[0, 1, EOS], table[0, 2:, EOS] = 1.0, 0.5, 0.5, 1.0
    scorers = [(1.0, Steps(4, table.log())), (1.0, FusedPrefix(Fusion(bonus=6.0), 1, 4, VOCAB, torch.device("cpu")))]
    ((best, *_),) = beam_search(scorers, torch.tensor([12]), EOS, 4, 1.5, most_gain=6.0)
    assert best.tokens == [3, 3] and best.score == pytest.approx((12 + math.log(0.5)) / 3**1.5, abs=1e-6)


def test_most_gain_is_the_most_that_a_token_adds(models):
    for weights, bonus in ADDED:
        fusion = fuse(models, weights, bonus)
        for text in TEXTS:
            scores = [weight * torch.tensor(walk(models[name], text)) for name, weight in weights.items()]
            added = sum(scores, torch.zeros(len(text) + 1)) + torch.tensor([bonus] * len(text) + [0.0])
            assert float(added.max()) <= fusion.most_gain + 1e-9
    assert fuse(models, {"hot": 1.5}, 2.0).most_gain == 3.5 and fuse(models, {"tokens": 1.5}, -2.0).most_gain == 0.0


@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
def test_padding_and_neighbours_change_nothing(ctc_weight, models):
    fusion = fuse(models, {"tokens": 0.5, "words": 0.4, "hot": 1.0}, 1.0)
    memory, ctc, lengths = utterances([7, 4, 1, 0])
    limits = torch.tensor([6, 4, 1, 0])
    together = search(memory, ctc, lengths, 3, ctc_weight, 0.5, fusion, limits)
    for row, length in enumerate(lengths.tolist()):
        rows, size = slice(row, row + 1), max(length, 1)
        (alone,) = search(memory[rows, :size], ctc[rows, :size], lengths[rows], 3, ctc_weight, 0.5, fusion, limits[rows])
        assert [hypothesis.tokens for hypothesis in alone] == [hypothesis.tokens for hypothesis in together[row]]
        if length:
            assert [hypothesis.score for hypothesis in alone] == pytest.approx([hypothesis.score for hypothesis in together[row]], abs=1e-9)
    assert [hypothesis.tokens for hypothesis in together[3]] == [[]]


def test_only_what_changes_scores_is_fusion(models):
    assert not Fusion() and not fuse(models, {"tokens": 0.0, "hot": 0.0}, 0.0)
    assert fuse(models, {"tokens": 0.1}, 0.0) and fuse(models, {}, -0.1)
    assert len(fuse(models, {"tokens": 0.0, "hot": 1.0}, 0.0).models) == 1


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
def test_rescoring_keeps_what_text_models_add(ctc_weight, models):
    weights, bonus = {"tokens": 0.5, "words": 0.4, "hot": 1.0}, 1.5
    memory, ctc, lengths = utterances([6, 3], seed=1)
    hypotheses = prefix_beam(ctc, lengths, 2000, 10, fuse(models, weights, bonus))
    with torch.no_grad():
        rescored = rescore(decoder(), memory, lengths, hypotheses, ctc_weight, length_penalty=0.5)
        assert [len(after) for after in rescored] == [len(before) for before in hypotheses]
        for hypothesis in rescored[0][::20]:
            attention = float(text_scores(decoder(), memory[:1, :6], lengths[:1], [hypothesis.tokens], None))
            added = text_score(models, weights, bonus, hypothesis.tokens)
            assert hypothesis.text_score == pytest.approx(added, abs=1e-5)
            mixed = (1 - ctc_weight) * attention + ctc_weight * ctc_score(ctc[0, :6], hypothesis.tokens) + added
            assert hypothesis.score == pytest.approx(mixed / (len(hypothesis.tokens) + 1) ** 0.5, abs=1e-5)
        assert [hypothesis.score for hypothesis in rescored[0]] == sorted((hypothesis.score for hypothesis in rescored[0]), reverse=True)
