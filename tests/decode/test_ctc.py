"""CTC search: exact against brute force, padding, empty utterances."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from m2asr.decode.ctc import greedy
from m2asr.decode.prefix_beam import prefix_beam
from m2asr.objectives.ctc import collapse


def log_probs(batch: int, frames: int, vocab: int, seed: int, sharp: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharp * torch.randn(batch, frames, vocab, generator=generator, dtype=torch.float64)).log_softmax(-1)


def brute_force(one: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The log-probability of every label sequence: a sum over all alignments of (T, V)."""
    totals: dict[tuple[int, ...], float] = {}
    rows = one.tolist()
    for path in itertools.product(range(one.shape[1]), repeat=one.shape[0]):
        labels = tuple(collapse(list(path)))
        totals[labels] = totals.get(labels, 0.0) + math.exp(sum(rows[t][label] for t, label in enumerate(path)))
    return {labels: math.log(total) for labels, total in totals.items()}


@pytest.mark.parametrize("beam", [50, 300])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_is_exact(seed, beam):
    found = log_probs(2, 5, 3, seed)
    for one, hypotheses in zip(found, prefix_beam(found, torch.tensor([5, 5]), beam, token_prune=10), strict=True):
        expected = brute_force(one)
        assert len(hypotheses) == len(expected)
        for hypothesis in hypotheses:
            assert hypothesis.score == pytest.approx(expected[tuple(hypothesis.tokens)], abs=1e-9)
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)


def test_a_narrow_beam_finds_the_best_of_sharp_distributions():
    found = log_probs(4, 6, 4, seed=1, sharp=4.0)
    narrow = prefix_beam(found, torch.tensor([6] * 4), beam=8, token_prune=3)
    for one, hypotheses in zip(found, narrow, strict=True):
        expected = brute_force(one)
        assert tuple(hypotheses[0].tokens) == max(expected, key=expected.get)
        assert hypotheses[0].score <= expected[tuple(hypotheses[0].tokens)] + 1e-9


def test_prefixes_are_unique():
    for hypotheses in prefix_beam(log_probs(3, 30, 6, seed=2), torch.tensor([30, 30, 30]), beam=20, token_prune=5):
        assert len({tuple(one.tokens) for one in hypotheses}) == len(hypotheses) == 20


@pytest.mark.parametrize("search", [greedy, lambda x, n: prefix_beam(x, n, beam=6, token_prune=4)], ids=["greedy", "beam"])
def test_padding_and_neighbours_change_nothing(search):
    found = log_probs(3, 12, 6, seed=3)
    lengths = torch.tensor([12, 7, 0])
    together = search(found, lengths)
    for row, length in enumerate(lengths.tolist()):
        (alone,) = search(found[row : row + 1, :length], lengths[row : row + 1])
        if isinstance(alone, list):
            assert [one.tokens for one in alone] == [one.tokens for one in together[row]]
            assert [one.score for one in alone] == pytest.approx([one.score for one in together[row]])
        else:
            assert alone.tokens == together[row].tokens and alone.score == pytest.approx(together[row].score)


def test_nothing_to_read_gives_an_empty_hypothesis():
    found = log_probs(1, 4, 5, seed=4)
    assert greedy(found, torch.tensor([0]))[0].tokens == []
    assert [one.tokens for one in prefix_beam(found, torch.tensor([0]), 3, 3)[0]] == [[]]


def test_greedy_collapses_the_best_path():
    best = torch.tensor([[0, 2, 2, 0, 2, 3, 3, 1]])
    found = torch.nn.functional.one_hot(best, 4).double().log().clamp(min=-50)
    assert greedy(found, torch.tensor([8]))[0].tokens == [2, 2, 3, 1]
    assert greedy(found, torch.tensor([3]))[0].tokens == [2]
