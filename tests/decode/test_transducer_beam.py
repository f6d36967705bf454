"""Beam search of a transducer: exact against brute force over all alignments, greedy with a beam of one, text models, padding, limits."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch

from m2asr.decode.fusion import Fusion
from m2asr.decode.hotwords import HotWords
from m2asr.decode.prefix_table import PrefixTable
from m2asr.decode.token_lm import TokenNgram
from m2asr.decode.transducer_beam import transducer_beam
from m2asr.decode.word_lm import WordNgram
from m2asr.models.joiner import Joiner
from m2asr.models.predictor import LSTMPredictor, PredictorState, StatelessPredictor
from m2asr.models.transducer import greedy
from tests.decode.small import TEXTS, estimated, fused, hot_tokens, letters, walk

TOKENIZER = letters(" ab")  # blank, unknown, space, a, b, end
VOCAB, END = 6, 5
KINDS = [LSTMPredictor, StatelessPredictor]
HOT = ["ab", "b a"]


class Model:
    """A tiny transducer and what it says of every text at every state."""

    def __init__(self, vocab=VOCAB, seed=0, kind=LSTMPredictor, sharp=4.0):
        torch.manual_seed(seed)
        self.predictor, self.joiner = kind(vocab, dim=8, dropout=0.0).double(), Joiner(4, 8, vocab, dim=16).double()
        self.vocab = vocab
        with torch.no_grad():
            self.joiner.output.weight.mul_(sharp)
            self.joiner.output.bias[0] += 1.0  # more blanks

    def states(self, batch, size, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, size, 4, generator=generator, dtype=torch.float64)

    def __call__(self, states, lengths, max_symbols, beam, token_prune=VOCAB, fusion=None):
        return transducer_beam(states, torch.tensor(lengths), self.predictor, self.joiner, max_symbols, beam, token_prune, fusion)

    @torch.no_grad()
    def log_probs(self, states, text):
        """(T, V) after a text."""
        predicted = self.predictor(torch.tensor([text], dtype=torch.long))[0, -1]
        return self.joiner.logits(self.joiner.encoded(states), self.joiner.predicted(predicted)).log_softmax(-1).tolist()

    def all_texts(self, states, max_symbols, tokens):
        """The log-probability of every text of these tokens: a sum over all alignments with states (T, S)."""
        written = [added for size in range(max_symbols + 1) for added in itertools.product(tokens, repeat=size)]
        tables, totals = {}, {}
        for alignment in itertools.product(written, repeat=len(states)):
            text, score = (), 0.0
            for state, added in enumerate(alignment):
                for token in (*added, 0):
                    if text not in tables:
                        tables[text] = self.log_probs(states, text)
                    score += tables[text][state][token]
                    text = (*text, token) if token else text
            totals[text] = totals.get(text, 0.0) + math.exp(score)
        return {text: math.log(total) for text, total in totals.items()}


def by_hand(model, states, max_symbols, beam, token_prune=VOCAB, models=None, bonus=0.0):
    """The search of one utterance, prefix by prefix: probabilities by text and number of tokens at its state.

    A prefix takes tokens whose result is a prefix already, and of the others the most probable ones. With weighted text models the end is
    the last token, which is never written.
    """
    prefixes, complete, tables, gains = {(): {0: 1.0}}, {}, {}, {}
    written = range(1, model.vocab if models is None else model.vocab - 1)
    token_prune = token_prune if models else min(token_prune, beam)

    def score(item):
        text, counts = item
        if text not in gains:
            gains[text] = bonus * len(text) + sum(weight * sum(walk(of, text)[:-1]) for weight, of in models or ())
        return math.log(sum(counts.values())) + gains[text]

    for symbol in range(len(states) * (max_symbols + 1)):
        extended = {}
        for text, counts in prefixes.items():
            if text not in tables:
                tables[text] = model.log_probs(states, text)
            row = tables[text][symbol - len(text)]
            held = [token for token in written if (*text, token) in prefixes]
            others = sorted((token for token in written if token not in held), key=lambda token: -row[token])
            for count, prob in counts.items():
                for token in [0, *held, *others[:token_prune]] if count < max_symbols else [0]:
                    after, number = ((*text, token), count + 1) if token else (text, 0)
                    of_text = extended.setdefault(after, {})
                    of_text[number] = of_text.get(number, 0.0) + prob * math.exp(row[token])
        prefixes = dict(sorted(extended.items(), key=lambda item: -score(item))[:beam])
        for text in [text for text in prefixes if symbol + 1 - len(text) == len(states)]:
            end = sum(weight * walk(of, text)[-1] for weight, of in models or ())
            complete[text] = score((text, prefixes.pop(text))) + end
    return sorted(complete.items(), key=lambda item: -item[1])[:beam]


@pytest.fixture(scope="module")
def tokens_lm(tmp_path_factory):
    return estimated(tmp_path_factory.mktemp("tokens"), TEXTS, TOKENIZER, order=3)


@pytest.fixture(scope="module")
def words_lm(tmp_path_factory):
    return estimated(tmp_path_factory.mktemp("words"), TEXTS, order=2)


def token_score(model):
    return lambda text: sum(model.sentence(TOKENIZER.tokens[token] for token in text))


def hot_score(text):
    return hot_tokens(text, TOKENIZER, HOT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_symbols", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_is_brute_force(seed, max_symbols, kind):
    model, lengths = Model(3, seed, kind), [3, 2]
    states = model.states(2, 3, seed)
    for row, hypotheses in enumerate(model(states, lengths, max_symbols, beam=200)):
        expected = model.all_texts(states[row, : lengths[row]], max_symbols, [1, 2])
        assert {tuple(hypothesis.tokens) for hypothesis in hypotheses} == expected.keys() and len(hypotheses) == len(expected)
        for hypothesis in hypotheses:
            assert hypothesis.score == pytest.approx(expected[tuple(hypothesis.tokens)], abs=1e-9)
            assert hypothesis.text_score == 0.0
        assert [hypothesis.score for hypothesis in hypotheses] == sorted((hypothesis.score for hypothesis in hypotheses), reverse=True)


@pytest.mark.parametrize(
    ("weight", "word_weight", "hot", "bonus"),
    [(0.7, 0, 0, 0), (0, 0.9, 0, 0), (0, 0, 1.5, 0), (0, 0, 0, 2.5), (0, 0, 0, -2.0), (0.4, 0.6, 0.8, 1.1)],
)
def test_a_wide_beam_with_text_models_is_brute_force(weight, word_weight, hot, bonus, tokens_lm, words_lm):
    """Score = log p of the text + weight * log p of the text models with its end + hot words + bonus * tokens, for every text."""
    model, weights = Model(seed=1), (weight, word_weight, hot)
    states, lengths = model.states(2, 2), [2, 1]
    models = TokenNgram(tokens_lm, TOKENIZER, "lm"), WordNgram(words_lm, TOKENIZER, "lm"), HotWords(HOT, TOKENIZER)
    fusion = Fusion(list(zip(weights, map(PrefixTable, models), strict=True)), bonus)
    scores = token_score(tokens_lm), lambda text: sum(words_lm.sentence(TOKENIZER.decode(text).split())), hot_score
    for row, hypotheses in enumerate(model(states, lengths, 2, 400, VOCAB, fusion)):
        texts = model.all_texts(states[row, : lengths[row]], 2, range(1, END))
        expected = fused(texts, list(zip(weights, scores, strict=True)), bonus)
        assert {tuple(hypothesis.tokens) for hypothesis in hypotheses} == expected.keys() and len(hypotheses) == len(expected)
        for hypothesis in hypotheses:
            text = tuple(hypothesis.tokens)
            assert hypothesis.score == pytest.approx(expected[text], abs=2e-5)
            assert hypothesis.text_score == pytest.approx(expected[text] - texts[text], abs=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_symbols", [1, 2, 5])
def test_a_beam_of_one_is_greedy(max_symbols, kind):
    lengths, written = [9, 0, 4, 1], 0
    for seed in range(4):
        model = Model(seed=seed, kind=kind)
        states = model.states(4, 9, seed)
        with torch.no_grad():
            texts, scores = greedy(states, torch.tensor(lengths), model.predictor, model.joiner, max_symbols)
        hypotheses = model(states, lengths, max_symbols, beam=1, token_prune=1)
        assert [[hypothesis.tokens for hypothesis in some] for some in hypotheses] == [[text] for text in texts]
        assert [some[0].score for some in hypotheses] == pytest.approx(scores, abs=1e-9)
        written += sum(map(len, texts))
    assert written > 4


@pytest.mark.parametrize("max_symbols", [1, 3])
@pytest.mark.parametrize("beam", [1, 2, 4, 9])
def test_a_narrow_beam_is_the_search_written_out_prefix_by_prefix(beam, max_symbols):
    """Also the order of its texts, and where the search of an utterance ends."""
    lengths = [5, 3]
    for seed in range(3):
        model = Model(seed=seed, sharp=2.0)
        states = model.states(2, 5, seed)
        for row, hypotheses in enumerate(model(states, lengths, max_symbols, beam)):
            expected = by_hand(model, states[row, : lengths[row]], max_symbols, beam)
            assert [tuple(hypothesis.tokens) for hypothesis in hypotheses] == [text for text, _ in expected]
            assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx([score for _, score in expected], abs=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_narrow_beams_with_few_tokens_and_text_models(seed, tokens_lm, words_lm):
    """Random widths, limits, weights and lengths; also where a prefix returns after it had left the beam."""
    choose = random.Random(seed)
    model = Model(seed=seed, kind=choose.choice(KINDS), sharp=choose.choice([0.5, 2.0, 4.0, 8.0]))
    lengths, max_symbols = [5, choose.randint(0, 4)], choose.randint(1, 3)
    beam, token_prune = choose.choice([2, 3, 5, 8]), choose.randint(1, 3)
    available = TokenNgram(tokens_lm, TOKENIZER, "lm"), WordNgram(words_lm, TOKENIZER, "lm"), HotWords(HOT, TOKENIZER)
    models = [(weight, of) for of in available if (weight := choose.choice([0.0, 0.5, 3.0]))] if seed % 4 else None
    bonus = choose.choice([-1.0, 0.5, 2.0, 6.0]) if models is not None else 0.0
    fusion = None if models is None else Fusion([(weight, PrefixTable(of)) for weight, of in models], bonus)
    states = model.states(2, 5, seed)
    for row, hypotheses in enumerate(model(states, lengths, max_symbols, beam, token_prune, fusion)):
        expected = by_hand(model, states[row, : lengths[row]], max_symbols, beam, token_prune, models, bonus) if lengths[row] else None
        if expected is None:
            assert [hypothesis.tokens for hypothesis in hypotheses] == [[]]
            continue
        assert [tuple(hypothesis.tokens) for hypothesis in hypotheses] == [text for text, _ in expected]
        assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx([score for _, score in expected], abs=1e-4)


class Table(torch.nn.Module):
    """Predictor and joiner in one: random logits for every state and text."""

    def __init__(self, seed, spread, states, vocab=3):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits_of = torch.randn(states, 4096, vocab, generator=generator, dtype=torch.float64) * spread
        self.vocab = vocab

    def begin(self, batch, beam=1):
        return PredictorState((torch.zeros(batch, beam, dtype=torch.long),))

    def step(self, state, tokens=None):
        number = state.tensors[0] if tokens is None else state.tensors[0] * self.vocab + tokens
        return number[..., None].double(), PredictorState((number,))

    def encoded(self, states):
        return states

    predicted = encoded

    def logits(self, encoded, predicted):
        state, text = torch.broadcast_tensors(encoded[..., 0].long(), predicted[..., 0].long() % 4096)
        return self.logits_of[state, text]


class Endless(Fusion):
    """Expects so much of every further token that no search ends early."""

    most_gain = 1e6


class Hasty(Fusion):
    """Expects nothing of further tokens."""

    most_gain = 0.0


def test_a_bonus_for_tokens_to_come_keeps_a_search_going():
    """A complete text must not end a search while prefixes may still overtake it by what fusion adds to every token."""
    earlier = []
    for seed in (71, 72, 92, 93, 141):
        table, states = Table(seed, 10.0, 8), torch.arange(3.0, dtype=torch.float64)[None, :, None]
        whole, bounded, hasty = (
            transducer_beam(states, torch.tensor([3]), table, table, 3, 4, 4, kind([], 8.0))[0] for kind in (Endless, Fusion, Hasty)
        )
        assert [hypothesis.tokens for hypothesis in bounded] == [hypothesis.tokens for hypothesis in whole]
        earlier += [seed] if hasty[0].tokens != whole[0].tokens else []
    assert earlier == [72, 92, 141]  # whose best texts are lost without the bound


def test_nothing_to_add_is_bit_for_bit_no_fusion(tokens_lm):
    """Weights and a bonus of 0, whatever the models are."""
    model, lengths = Model(seed=2), [12, 7, 0]
    states = model.states(3, 12)
    models = [(0.0, PrefixTable(TokenNgram(tokens_lm, TOKENIZER, "lm"))), (0.0, PrefixTable(HotWords(HOT, TOKENIZER)))]
    bare = model(states, lengths, 3, 5, 4)
    assert model(states, lengths, 3, 5, 4, Fusion(models, 0.0)) == bare
    assert model(states, lengths, 3, 5, 4, Fusion([(0.5, models[0][1])], 0.0)) != bare
    assert model(states, lengths, 3, 5, 4, Fusion([], 0.1)) != bare


def test_a_narrow_beam_follows_text_models(tokens_lm):
    """Where the sound says little, the texts are those of the model, and hot words are found more often."""
    model, lengths = Model(seed=3, sharp=0.5), [8] * 10
    states = model.states(10, 8)

    def best(*models):
        fusion = Fusion([(3.0, PrefixTable(text_model)) for text_model in models], 2.5)
        return [hypotheses[0].tokens for hypotheses in model(states, lengths, 2, 8, VOCAB, fusion)]

    def per_token(texts):
        return sum(map(token_score(tokens_lm), texts)) / sum(len(text) + 1 for text in texts)

    bare, led, hot = best(), best(TokenNgram(tokens_lm, TOKENIZER, "lm")), best(HotWords(HOT, TOKENIZER))
    assert per_token(led) > per_token(bare) + 0.3
    assert sum(map(hot_score, hot)) > sum(map(hot_score, bare)) + 5


@pytest.mark.parametrize("fuse", [False, True])
def test_texts_are_unique(fuse, tokens_lm):
    model = Model(seed=1, sharp=2.0)
    fusion = Fusion([(0.8, PrefixTable(TokenNgram(tokens_lm, TOKENIZER, "lm")))], 1.0) if fuse else None
    for hypotheses in model(model.states(3, 10), [10, 10, 10], 2, 12, VOCAB, fusion):
        assert len({tuple(hypothesis.tokens) for hypothesis in hypotheses}) == len(hypotheses) == 12


@pytest.mark.parametrize("fuse", [False, True])
def test_padding_and_neighbours_change_nothing(fuse, tokens_lm, words_lm):
    models = TokenNgram(tokens_lm, TOKENIZER, "lm"), WordNgram(words_lm, TOKENIZER, "lm"), HotWords(HOT, TOKENIZER)
    fusion = Fusion([(0.5, PrefixTable(text_model)) for text_model in models], 0.7) if fuse else None
    model, lengths = Model(seed=4), [9, 5, 1, 0]
    states = model.states(4, 12)
    together = model(states, lengths, 3, 4, 4, fusion)
    for row, length in enumerate(lengths):
        (alone,) = model(states[row : row + 1, : max(length, 1)], [length], 3, 4, 4, fusion)
        assert [hypothesis.tokens for hypothesis in alone] == [hypothesis.tokens for hypothesis in together[row]]
        assert [hypothesis.score for hypothesis in alone] == pytest.approx([hypothesis.score for hypothesis in together[row]], abs=1e-9)


def test_nothing_to_read_gives_the_empty_text(tokens_lm):
    model = Model()
    fusion = Fusion([(0.5, PrefixTable(TokenNgram(tokens_lm, TOKENIZER, "lm")))], 3.0)
    for frames in (0, 4):
        states = model.states(2, frames)
        assert [[hypothesis.tokens for hypothesis in some] for some in model(states, [0, 0], 2, 3)] == [[[]], [[]]]
        for (hypothesis,) in model(states, [0, 0], 2, 3, VOCAB, fusion):
            assert hypothesis.tokens == [] and hypothesis.score == pytest.approx(0.5 * sum(tokens_lm.sentence([])), abs=1e-6)


@pytest.mark.parametrize("max_symbols", [1, 2, 4])
def test_a_state_writes_at_most_max_symbols_tokens(max_symbols):
    """So large a bonus takes every token that there is."""
    model, lengths = Model(seed=5), [3, 1]
    for length, hypotheses in zip(lengths, model(model.states(2, 3), lengths, max_symbols, 6, VOCAB, Fusion([], 100.0)), strict=True):
        assert len(hypotheses[0].tokens) == max_symbols * length
        assert not any(END in hypothesis.tokens for hypothesis in hypotheses)


def test_an_utterance_of_numbers_that_are_not_finite_has_no_text_and_its_neighbour_has_its_own():
    model, lengths = Model(), [6, 3]
    states = model.states(2, 6)
    expected = model(states, lengths, 2, 3)[1]
    states[0] = math.nan
    broken, whole = model(states, lengths, 2, 3)
    assert broken == [] and [hypothesis.tokens for hypothesis in whole] == [hypothesis.tokens for hypothesis in expected]


def test_in_float32_the_search_is_that_of_float64():
    model, lengths = Model(seed=6), [12, 9]
    states = model.states(2, 12)
    expected = model(states, lengths, 2, 4)
    model.predictor.float(), model.joiner.float()
    for some, others in zip(model(states.float(), lengths, 2, 4), expected, strict=True):
        assert some[0].tokens == others[0].tokens and some[0].score == pytest.approx(others[0].score, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_least_length_leaves_exactly_the_longer_texts(kind):
    model = Model(vocab=4, kind=kind)
    states = model.states(3, 2)
    least = torch.tensor([0, 2, 9])  # the last is above what the states can write
    results = transducer_beam(states, torch.tensor([2, 2, 2]), model.predictor, model.joiner, 2, 300, 4, least=least)
    for row, (hypotheses, size) in enumerate(zip(results, (0, 2, 4), strict=True)):
        texts = model.all_texts(states[row], 2, range(1, 4))
        expected = {text: score for text, score in texts.items() if len(text) >= size}
        assert {tuple(hypothesis.tokens) for hypothesis in hypotheses} == set(expected)
        assert all(hypothesis.score == pytest.approx(expected[tuple(hypothesis.tokens)], abs=1e-9) for hypothesis in hypotheses)
