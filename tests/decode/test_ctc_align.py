"""Forced alignment equals a search through all paths."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from m2asr.decode.ctc_align import ctc_align, states_needed
from m2asr.objectives.ctc import collapse


def random_log_probs(batch: int, frames: int, vocab: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(batch, frames, vocab, generator=generator)).log_softmax(-1)


def best_path(log_probs: torch.Tensor, tokens: list[int]) -> tuple[float, list[int]]:
    """The best of all paths (T,) that write the tokens, by trying every one."""
    paths = [path for path in product(range(log_probs.shape[1]), repeat=len(log_probs)) if collapse(list(path)) == tokens]
    score = {path: sum(float(log_probs[t, label]) for t, label in enumerate(path)) for path in paths}
    best = max(score, key=score.get)
    return score[best], list(best)


@pytest.mark.parametrize("tokens", [[1], [1, 2], [2, 2], [1, 2, 1], [1, 1, 2], [2, 2, 2], []])
@pytest.mark.parametrize("seed", range(4))
def test_the_path_is_the_best_of_all(tokens, seed):
    log_probs = random_log_probs(1, 7, 3, seed)
    alignment = ctc_align(log_probs, torch.tensor([7]), [tokens])[0]
    score, path = best_path(log_probs[0], tokens)
    assert alignment.score * 7 == pytest.approx(score, abs=1e-5)
    written = [0] * 7
    for token, start, end, posterior in zip(alignment.tokens, alignment.starts, alignment.ends, alignment.posteriors, strict=True):
        written[start:end] = [token] * (end - start)
        assert posterior == pytest.approx(float(log_probs[0, start:end, token].exp().mean()), abs=1e-6)
    assert written == path and alignment.tokens == tokens


def test_a_batch_gives_what_each_utterance_gives_alone():
    log_probs, lengths = random_log_probs(4, 30, 9, 1), [30, 17, 9, 12]
    texts = [[1, 2, 3, 3, 8], [4, 4, 4], [5], []]
    alignments = ctc_align(log_probs, torch.tensor(lengths), texts)
    for row, (length, tokens) in enumerate(zip(lengths, texts, strict=True)):
        assert alignments[row] == ctc_align(log_probs[row : row + 1, :length], torch.tensor([length]), [tokens])[0]


def test_texts_without_a_path_have_no_alignment():
    log_probs = random_log_probs(5, 4, 3, 2)
    texts = [[1, 2, 1, 2], [1, 1, 1], [1, 1, 2, 1], [1], []]
    assert [states_needed(text) for text in texts] == [4, 5, 5, 1, 0]
    alignments = ctc_align(log_probs, torch.tensor([4, 4, 4, 0, 0]), texts)
    assert alignments[0] is not None and alignments[1:] == [None, None, None, None]


def test_an_alignment_that_needs_too_much_memory_is_left_out(monkeypatch):
    monkeypatch.setattr("m2asr.decode.ctc_align.MOST_CELLS", 29)
    log_probs = random_log_probs(2, 10, 3, 0)
    alignments = ctc_align(log_probs, torch.tensor([10, 9]), [[2], [2]])  # 10 x 3 and 9 x 3
    assert alignments[0] is None and alignments[1] is not None
