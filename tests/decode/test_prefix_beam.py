"""CTC prefix beam search: exact against brute force, with and without text models; padding, neighbours and empty utterances."""

from __future__ import annotations

import pytest
import torch

from m2asr.decode.fusion import Fusion
from m2asr.decode.hotwords import HotWords
from m2asr.decode.prefix_beam import prefix_beam
from m2asr.decode.prefix_table import PrefixTable
from m2asr.decode.token_lm import TokenNgram
from m2asr.decode.word_lm import WordNgram
from tests.decode.small import TEXTS, all_labels, ctc_output, estimated, fused, hot_tokens, letters

TOKENIZER = letters(" ab")  # blank, unknown, space, a, b, end
VOCAB, UNK, END = 6, 1, 5
NEVER = float("-inf")
HOT = ["ab", "b a", "ab ab"]


@pytest.fixture(scope="module")
def tokens_lm(tmp_path_factory):
    return estimated(tmp_path_factory.mktemp("tokens"), TEXTS, TOKENIZER, order=3)


@pytest.fixture(scope="module")
def words_lm(tmp_path_factory):
    return estimated(tmp_path_factory.mktemp("words"), TEXTS, order=2)


def token_score(model):
    return lambda text: sum(model.sentence(TOKENIZER.tokens[token] for token in text))


def word_score(model):
    """Words of the text as `decode` writes it; letters of the unknown token are not among those of any word."""
    return lambda text: sum(model.sentence(TOKENIZER.decode(text).split()))


def hot_score(text):
    return hot_tokens(text, TOKENIZER, HOT)


def written(log_probs):
    """Without the end among the labels: no text holds it."""
    log_probs[..., END] = NEVER
    return log_probs.log_softmax(-1)


@pytest.mark.parametrize("beam", [50, 300])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_is_exact(seed, beam):
    log_probs = ctc_output(2, 5, 3, seed)
    for utt_log_probs, hypotheses in zip(log_probs, prefix_beam(log_probs, torch.tensor([5, 5]), beam, token_prune=10), strict=True):
        expected = all_labels(utt_log_probs)
        assert len(hypotheses) == len(expected)
        for hypothesis in hypotheses:
            assert hypothesis.score == pytest.approx(expected[tuple(hypothesis.tokens)], abs=1e-9)
            assert hypothesis.text_score == 0.0
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)


@pytest.mark.parametrize(
    ("weight", "word_weight", "hot", "bonus"),
    [(0.7, 0, 0, 0), (0, 0.9, 0, 0), (0, 0, 1.5, 0), (0, 0, 0, 1.2), (0, 0, 0, -2.0), (0.4, 0.6, 0.8, 1.1), (2.0, 0, 0, 3.0)],
)
def test_a_wide_beam_with_text_models_is_exact(weight, word_weight, hot, bonus, tokens_lm, words_lm):
    """Score = log p of the labels + weight * log p of the text with its end + hot words + bonus * tokens, for every label sequence."""
    lengths = torch.tensor([5, 3])
    log_probs = written(ctc_output(2, 5, VOCAB, seed=1))
    models = TokenNgram(tokens_lm, TOKENIZER, "lm"), WordNgram(words_lm, TOKENIZER, "lm"), HotWords(HOT, TOKENIZER)
    weights = weight, word_weight, hot
    fusion = Fusion(list(zip(weights, map(PrefixTable, models), strict=True)), bonus)
    scores = token_score(tokens_lm), word_score(words_lm), hot_score
    for row, hypotheses in enumerate(prefix_beam(log_probs, lengths, 3000, VOCAB, fusion)):
        labels = {text: score for text, score in all_labels(log_probs[row, : lengths[row], :END]).items() if len(text) <= 5}
        expected = fused(labels, list(zip(weights, scores, strict=True)), bonus)
        assert {tuple(hypothesis.tokens) for hypothesis in hypotheses} == expected.keys()
        for hypothesis in hypotheses:
            assert hypothesis.score == pytest.approx(expected[tuple(hypothesis.tokens)], abs=2e-5)
            assert hypothesis.text_score == pytest.approx(expected[tuple(hypothesis.tokens)] - labels[tuple(hypothesis.tokens)], abs=2e-5)
        assert [hypothesis.score for hypothesis in hypotheses] == sorted((hypothesis.score for hypothesis in hypotheses), reverse=True)


def test_nothing_to_add_is_bit_for_bit_no_fusion(tokens_lm):
    """Weights and a bonus of 0, whatever the models are."""
    log_probs, lengths = ctc_output(3, 30, VOCAB, seed=4), torch.tensor([30, 17, 0])
    models = [(0.0, PrefixTable(TokenNgram(tokens_lm, TOKENIZER, "lm"))), (0.0, PrefixTable(HotWords(HOT, TOKENIZER)))]
    bare = prefix_beam(log_probs, lengths, 7, 4)
    assert prefix_beam(log_probs, lengths, 7, 4, Fusion(models, 0.0)) == bare
    assert prefix_beam(log_probs, lengths, 7, 4, Fusion([(0.5, models[0][1])], 0.0)) != bare
    assert prefix_beam(log_probs, lengths, 7, 4, Fusion([], 0.1)) != bare


def test_a_narrow_beam_finds_the_best_of_sharp_distributions():
    log_probs = ctc_output(4, 6, 4, seed=1, sharp=4.0)
    narrow = prefix_beam(log_probs, torch.tensor([6] * 4), beam=8, token_prune=3)
    for utt_log_probs, hypotheses in zip(log_probs, narrow, strict=True):
        expected = all_labels(utt_log_probs)
        assert tuple(hypotheses[0].tokens) == max(expected, key=expected.get)
        assert hypotheses[0].score <= expected[tuple(hypotheses[0].tokens)] + 1e-9


def test_a_narrow_beam_follows_the_language_model(tokens_lm):
    """Where the sound says little, the texts are those of the model."""
    fusion = Fusion([(3.0, PrefixTable(TokenNgram(tokens_lm, TOKENIZER, "lm")))], 2.5)
    log_probs = written(ctc_output(20, 12, VOCAB, seed=2, sharp=0.5))
    best = [hypotheses[0] for hypotheses in prefix_beam(log_probs, torch.tensor([12] * 20), 10, 4, fusion)]
    bare = [hypotheses[0] for hypotheses in prefix_beam(log_probs, torch.tensor([12] * 20), 10, 4)]
    texts = ([hypothesis.tokens for hypothesis in best], [hypothesis.tokens for hypothesis in bare])
    per_token = [sum(map(token_score(tokens_lm), some)) / sum(len(text) + 1 for text in some) for some in texts]
    assert per_token[0] > per_token[1] + 0.3
    assert not any(UNK in hypothesis.tokens for hypothesis in best)


@pytest.mark.parametrize("fuse", [False, True])
def test_prefixes_are_unique(fuse, tokens_lm):
    fusion = Fusion([(0.8, PrefixTable(TokenNgram(tokens_lm, TOKENIZER, "lm")))], 1.0) if fuse else None
    for hypotheses in prefix_beam(ctc_output(3, 30, VOCAB, seed=2), torch.tensor([30, 30, 30]), 20, 5, fusion):
        assert len({tuple(hypothesis.tokens) for hypothesis in hypotheses}) == len(hypotheses) == 20


@pytest.mark.parametrize("fuse", [False, True])
def test_padding_and_neighbours_change_nothing(fuse, tokens_lm, words_lm):
    models = TokenNgram(tokens_lm, TOKENIZER, "lm"), WordNgram(words_lm, TOKENIZER, "lm"), HotWords(HOT, TOKENIZER)
    fusion = Fusion([(0.5, PrefixTable(model)) for model in models], 0.7) if fuse else None
    log_probs = ctc_output(4, 12, VOCAB, seed=3)
    lengths = torch.tensor([12, 7, 1, 0])
    together = prefix_beam(log_probs, lengths, 6, 4, fusion)
    for row, length in enumerate(lengths.tolist()):
        (alone,) = prefix_beam(log_probs[row : row + 1, :length], lengths[row : row + 1], 6, 4, fusion)
        assert [hypothesis.tokens for hypothesis in alone] == [hypothesis.tokens for hypothesis in together[row]]
        assert [hypothesis.score for hypothesis in alone] == pytest.approx([hypothesis.score for hypothesis in together[row]], abs=1e-9)


def test_nothing_to_read_gives_an_empty_hypothesis(tokens_lm):
    log_probs = ctc_output(1, 4, VOCAB, seed=4)
    assert [hypothesis.tokens for hypothesis in prefix_beam(log_probs, torch.tensor([0]), 3, 3)[0]] == [[]]
    fusion = Fusion([(0.5, PrefixTable(TokenNgram(tokens_lm, TOKENIZER, "lm")))], 3.0)
    for frames in (0, 4):
        ((hypothesis,),) = prefix_beam(log_probs[:, :frames], torch.tensor([0]), 3, 3, fusion)
        assert hypothesis.tokens == [] and hypothesis.score == pytest.approx(0.5 * sum(tokens_lm.sentence([])), abs=1e-6)


@pytest.mark.parametrize("beam", [1, 500])
def test_one_state_gives_at_most_one_token(beam, tokens_lm):
    fusion = Fusion([(0.5, PrefixTable(TokenNgram(tokens_lm, TOKENIZER, "lm")))], 50.0)
    (hypotheses,) = prefix_beam(written(ctc_output(1, 1, VOCAB, seed=5)), torch.tensor([1]), beam, 100, fusion)
    assert len(hypotheses) == min(beam, VOCAB - 1) and all(len(hypothesis.tokens) <= 1 for hypothesis in hypotheses)
    assert len(hypotheses[0].tokens) == 1  # so large a bonus takes every token that there is


def test_the_smallest_vocabulary():
    """A blank, the unknown token and the end: a text of unknown tokens is all that can be written."""
    log_probs = ctc_output(1, 4, 3, seed=6)
    (hypotheses,) = prefix_beam(log_probs, torch.tensor([4]), 20, 20, Fusion([], 1.0))
    assert sorted(hypothesis.tokens for hypothesis in hypotheses) == [[], [1], [1, 1]]


@pytest.mark.parametrize("seed", range(3))
def test_a_least_length_leaves_exactly_the_longer_texts(seed):
    log_probs = ctc_output(3, 5, 3, seed)
    least = torch.tensor([0, 2, 9])  # the last is above the number of states
    results = prefix_beam(log_probs, torch.tensor([5, 5, 5]), 300, token_prune=10, least=least)
    for utt_log_probs, hypotheses, size in zip(log_probs, results, (0, 2, 5), strict=True):
        expected = {text: score for text, score in all_labels(utt_log_probs).items() if len(text) >= size}
        assert {tuple(hypothesis.tokens) for hypothesis in hypotheses} == set(expected)
        assert all(hypothesis.score == pytest.approx(expected[tuple(hypothesis.tokens)], abs=1e-9) for hypothesis in hypotheses)


def test_no_text_is_empty_where_blanks_are_nearly_certain():
    log_probs = torch.full((2, 8, 4), -20.0, dtype=torch.float64)
    log_probs[:, :, 0] = 0.0
    log_probs[:, 5, 2] = -9.0
    lengths = torch.tensor([8, 7])
    assert all(hypotheses[0].tokens == [] for hypotheses in prefix_beam(log_probs, lengths, 3, 2))
    assert all(hypotheses[0].tokens == [2] for hypotheses in prefix_beam(log_probs, lengths, 3, 2, least=torch.tensor([1, 1])))
