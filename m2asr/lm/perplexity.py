"""Measures the perplexity of texts under an n-gram model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch

from m2asr.lm.ngram import NgramModel

_BATCH = 1000  # sentences scored at once


@dataclass
class Perplexity:
    """Sums over a text: sentences, words with the ends of sentences, words unknown to the model, and natural log-probabilities."""

    sentences: int = 0
    words: int = 0
    unknown: int = 0
    log_prob: float = 0.0
    unknown_log_prob: float = 0.0

    @property
    def with_unknown(self) -> float:
        """exp of the mean -log p(word | history), ends of sentences counted as words."""
        return _exp(-self.log_prob / self.words)

    @property
    def without_unknown(self) -> float:
        """The same over the words that the model knows; unknown words remain in the histories of other words."""
        return _exp(-(self.log_prob - self.unknown_log_prob) / (self.words - self.unknown))


def measure(model: NgramModel, sentences: Iterable[list[str]]) -> Perplexity:
    """Score every sentence from <s> to </s>."""
    total, waiting = Perplexity(), iter(sentences)
    while batch := list(islice(waiting, _BATCH)):
        numbers = [torch.tensor([*model.ids(words), model.eos]) for words in batch]
        lengths = torch.tensor([len(row) for row in numbers])
        padded = torch.nn.utils.rnn.pad_sequence(numbers, batch_first=True)  # (B, T)
        states = torch.full((len(batch),), model.start)
        for position in range(padded.shape[1]):
            rows = (lengths > position).nonzero().squeeze(1)
            word = padded[rows, position]
            log_probs, states[rows] = model.scores(states[rows], word)
            unknown = (word == -1) | (word == (-1 if model.unk is None else model.unk))
            total.log_prob += log_probs.double().sum().item()
            total.unknown_log_prob += log_probs[unknown].double().sum().item()
            total.unknown += int(unknown.sum())
        total.sentences += len(batch)
        total.words += int(lengths.sum())
    return total


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
