"""Beam search with decoders and CTC: a wide beam is brute force, a beam of one is greedy, neighbours and padding change nothing."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from m2asr.decode.attention import AttentionPrefix, rescore, text_scores
from m2asr.decode.beam import beam_search
from m2asr.decode.ctc_prefix import CTCPrefix
from m2asr.decode.prefix_beam import prefix_beam
from m2asr.models.decoder import TransformerDecoder

VOCAB, EOS, LIMIT, WIDE = 5, 4, 4, 200  # 3 tokens to write with, 1, 2 and 3
TEXTS = [list(text) for size in range(LIMIT + 1) for text in itertools.product(range(1, EOS), repeat=size)]


def decoder(seed: int = 0) -> TransformerDecoder:
    torch.manual_seed(seed)
    model = TransformerDecoder(6, VOCAB, ["it"], blocks=2, dim=8, heads=2, dropout=0.0).double().eval()
    with torch.no_grad():
        model.output.weight.mul_(6)  # sharp enough for greedy and wide search to differ
    return model


def utterances(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Memory (B, T, 6), CTC log-probabilities (B, T, V) and lengths (B,); the padding holds noise."""
    generator = torch.Generator().manual_seed(seed)
    memory = torch.randn(len(lengths), max(lengths), 6, generator=generator, dtype=torch.float64)
    ctc = (2 * torch.randn(len(lengths), max(lengths), VOCAB, generator=generator, dtype=torch.float64)).log_softmax(-1)
    return memory, ctc, torch.tensor(lengths)


def search(memory, ctc, lengths, beam, ctc_weight=0.0, penalty=0.0, prefix=None, limits=None):
    scorers = [(1 - ctc_weight, AttentionPrefix(decoder(), memory, lengths, beam, prefix))]
    if ctc_weight:
        scorers.append((ctc_weight, CTCPrefix(ctc, lengths, beam, EOS)))
    with torch.inference_mode():
        return beam_search(scorers, torch.full_like(lengths, LIMIT) if limits is None else limits, EOS, beam, penalty)


def ctc_score(log_probs: torch.Tensor, text: list[int]) -> float:
    sizes = torch.tensor(len(log_probs)), torch.tensor(len(text))
    return -float(F.ctc_loss(log_probs, torch.tensor(text, dtype=torch.long), *sizes, reduction="sum"))


def brute_force(memory, ctc, length, ctc_weight, penalty, prefix=None) -> dict[tuple[int, ...], float]:
    """The score of every text, from teacher forcing and torch's CTC loss."""
    many = len(TEXTS)
    with torch.no_grad():
        attention = text_scores(decoder(), memory[None, :length].expand(many, -1, -1), torch.full((many,), length), TEXTS, prefix).tolist()
    scores = {}
    for text, score in zip(TEXTS, attention, strict=True):
        if ctc_weight:
            score = (1 - ctc_weight) * score + ctc_weight * ctc_score(ctc[:length], text)
        scores[tuple(text)] = score / (len(text) + 1) ** penalty
    return scores


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("ctc_weight", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_is_brute_force(seed, ctc_weight, penalty):
    memory, ctc, lengths = utterances([6, 3], seed)
    for row, hypotheses in enumerate(search(memory, ctc, lengths, WIDE, ctc_weight, penalty)):
        expected = brute_force(memory[row], ctc[row], int(lengths[row]), ctc_weight, penalty)
        assert tuple(hypotheses[0].tokens) == max(expected, key=expected.get)
        for hypothesis in hypotheses:
            assert hypothesis.score == pytest.approx(expected[tuple(hypothesis.tokens)], abs=1e-9)


def test_the_start_of_another_language_changes_the_search():
    memory, ctc, lengths = utterances([6, 3])
    for row, hypotheses in enumerate(search(memory, ctc, lengths, WIDE, 0.3, prefix="it")):
        expected = brute_force(memory[row], ctc[row], int(lengths[row]), 0.3, 0.0, prefix="it")
        assert hypotheses[0].score == pytest.approx(max(expected.values()), abs=1e-9)
        assert hypotheses[0].score != pytest.approx(max(brute_force(memory[row], ctc[row], int(lengths[row]), 0.3, 0.0).values()))


@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
def test_padding_and_neighbours_change_nothing(ctc_weight):
    memory, ctc, lengths = utterances([7, 4, 1, 0])
    limits = torch.tensor([6, 4, 1, 0])
    together = search(memory, ctc, lengths, 3, ctc_weight, limits=limits)
    for row, length in enumerate(lengths.tolist()):
        rows, size = slice(row, row + 1), max(length, 1)
        (alone,) = search(memory[rows, :size], ctc[rows, :size], lengths[rows], 3, ctc_weight, limits=limits[rows])
        assert [hypothesis.tokens for hypothesis in alone] == [hypothesis.tokens for hypothesis in together[row]]
        if length:  # an utterance without states has the empty text, whatever its score
            assert [hypothesis.score for hypothesis in alone] == pytest.approx([hypothesis.score for hypothesis in together[row]], abs=1e-9)
    assert [hypothesis.tokens for hypothesis in together[3]] == [[]]


def test_ended_utterances_are_computed_no_more(monkeypatch):
    """The widths of the batches that the scorer sees go down, and every text is that of its utterance alone."""
    memory, ctc, lengths = utterances([7, 7, 7, 7, 7])
    limits, seen = torch.tensor([0, 6, 1, 0, 3]), []
    scores = AttentionPrefix.scores
    monkeypatch.setattr(AttentionPrefix, "scores", lambda self: seen.append(len(self.total)) or scores(self))
    together = search(memory, ctc, lengths, 3, 0.4, limits=limits)
    assert seen[0] == 5 and seen[-1] < 3 and seen == sorted(seen, reverse=True)
    for row, hypotheses in enumerate(together):
        rows = slice(row, row + 1)
        (alone,) = search(memory[rows], ctc[rows], lengths[rows], 3, 0.4, limits=limits[rows])
        assert [hypothesis.tokens for hypothesis in alone] == [hypothesis.tokens for hypothesis in hypotheses]


def test_a_beam_of_one_is_greedy():
    memory, ctc, lengths = utterances([7, 4, 2], seed=3)
    model = decoder()
    for row, hypotheses in enumerate(search(memory, ctc, lengths, beam=1)):
        text: list[int] = []
        while len(text) < LIMIT:
            logits = model(torch.tensor([text], dtype=torch.long), memory[row : row + 1, : lengths[row]], lengths[row : row + 1])[0, -1]
            logits[0] = float("-inf")  # the blank is not written
            if int(logits.argmax()) == EOS:
                break
            text.append(int(logits.argmax()))
        assert [hypothesis.tokens for hypothesis in hypotheses] == [text]


def test_no_text_is_longer_than_its_limit():
    memory, ctc, lengths = utterances([7, 7, 7])
    limits = torch.tensor([0, 1, 3])
    for limit, hypotheses in zip(limits.tolist(), search(memory, ctc, lengths, 4, limits=limits), strict=True):
        assert hypotheses and all(len(hypothesis.tokens) <= limit for hypothesis in hypotheses)


@pytest.mark.parametrize("length", [0, 1, 5])
def test_ctc_prefix_scores_are_sums_over_all_texts(length):
    """The score of a prefix is the probability of all label sequences that begin with it."""
    _, ctc, _ = utterances([6], seed=2)
    ctc = ctc[:, :, :4].log_softmax(-1)  # blank and 3 labels, so that every path is a text
    padded = torch.cat([ctc, torch.zeros(1, 6, 1, dtype=torch.float64)], dim=2)
    scorer = CTCPrefix(padded, torch.tensor([length]), beam=2, eos=EOS)
    texts = [list(text) for size in range(length + 1) for text in itertools.product(range(1, EOS), repeat=size)]
    exact = {}
    for text in texts:
        exact[tuple(text)] = math.exp(ctc_score(ctc[0, :length], text)) if length else 1.0
    prefixes = [(), ()]
    for source, token in (None, None), ([0, 1], [1, 2]), ([0, 0], [1, 3]), ([1, 0], [3, 2]):
        if source is not None:
            scorer.advance(torch.tensor([source]), torch.tensor([token]))
            prefixes = [(*prefixes[index], added) for index, added in zip(source, token, strict=True)]
        probs = scorer.scores()[0].exp()
        for index, prefix in enumerate(prefixes):
            assert float(probs[index, EOS]) == pytest.approx(exact.get(prefix, 0.0), abs=1e-12)
            for added in range(1, EOS):
                longer = (*prefix, added)
                expected = sum(value for text, value in exact.items() if text[: len(longer)] == longer)
                assert float(probs[index, added]) == pytest.approx(expected, abs=1e-12)


def test_ctc_prefix_scores_survive_certainty():
    """Probabilities of 0 and 1 give no NaN."""
    path = torch.tensor([[0, 1, 1, 0, 1, 2, 0]])
    ctc = F.one_hot(path, VOCAB).double().log()
    hypotheses = beam_search([(1.0, CTCPrefix(ctc, torch.tensor([7]), 5, EOS))], torch.tensor([6]), EOS, 5)
    assert hypotheses[0][0].tokens == [1, 1, 2] and hypotheses[0][0].score == pytest.approx(0.0, abs=1e-9)


def test_rescoring_orders_by_the_mixed_score():
    memory, ctc, lengths = utterances([6, 3], seed=1)
    hypotheses = prefix_beam(ctc[:, :, :EOS].log_softmax(-1), lengths, beam=30, token_prune=10)
    with torch.no_grad():
        again = rescore(decoder(), memory, lengths, hypotheses, ctc_weight=0.3, length_penalty=1.0)
        for row, (before, after) in enumerate(zip(hypotheses, again, strict=True)):
            scores = {tuple(hypothesis.tokens): hypothesis.score for hypothesis in before}
            for hypothesis in after:
                tokens, states = hypothesis.tokens, memory[row : row + 1, : lengths[row]]
                decoder_score = text_scores(decoder(), states, lengths[row : row + 1], [tokens], None)
                expected = (0.7 * float(decoder_score) + 0.3 * scores[tuple(tokens)]) / (len(tokens) + 1)
                assert hypothesis.score == pytest.approx(expected, abs=1e-9)
            assert [hypothesis.score for hypothesis in after] == sorted((hypothesis.score for hypothesis in after), reverse=True)
            assert len(after) == len(before)


def test_a_least_length_leaves_the_best_of_the_longer_texts():
    memory, ctc, lengths = utterances([6, 4, 5])
    least = torch.tensor([3, 0, 9])  # the last is above the limit
    scorers = [(1.0, AttentionPrefix(decoder(), memory, lengths, WIDE, None))]
    with torch.inference_mode():
        results = beam_search(scorers, torch.full_like(lengths, LIMIT), EOS, WIDE, least=least)
    for row, (hypotheses, size) in enumerate(zip(results, (3, 0, LIMIT), strict=True)):
        scores = brute_force(memory[row], ctc[row], int(lengths[row]), 0.0, 0.0)
        best = max((text for text in scores if len(text) >= size), key=scores.get)
        assert hypotheses[0].tokens == list(best) and hypotheses[0].score == pytest.approx(scores[best], abs=1e-9)
