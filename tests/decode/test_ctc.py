"""Greedy CTC search: the best path, padding, empty utterances."""

from __future__ import annotations

import pytest
import torch

from m2asr.decode.ctc import greedy
from tests.decode.small import ctc_output


def test_padding_and_neighbours_change_nothing():
    log_probs = ctc_output(3, 12, 6, seed=3)
    lengths = torch.tensor([12, 7, 0])
    together = greedy(log_probs, lengths)
    for row, length in enumerate(lengths.tolist()):
        (alone,) = greedy(log_probs[row : row + 1, :length], lengths[row : row + 1])
        assert alone.tokens == together[row].tokens and alone.score == pytest.approx(together[row].score)


def test_nothing_to_read_gives_an_empty_hypothesis():
    assert greedy(ctc_output(1, 4, 5, seed=4), torch.tensor([0]))[0].tokens == []


def test_greedy_collapses_the_best_path():
    best = torch.tensor([[0, 2, 2, 0, 2, 3, 3, 1]])
    log_probs = torch.nn.functional.one_hot(best, 4).double().log().clamp(min=-50)
    assert greedy(log_probs, torch.tensor([8]))[0].tokens == [2, 2, 3, 1]
    assert greedy(log_probs, torch.tensor([3]))[0].tokens == [2]
