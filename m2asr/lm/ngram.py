"""A back-off n-gram model that scores many histories at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.lm.states import build_states
from m2asr.lm.storage import map_arrays
from m2asr.lm.table import BOS, EOS, UNK, ZERO, Table, lookup

_ARRAYS = ("keys", "log_probs", "next_states", "first", "backoffs", "suffixes")


class NgramModel:
    """Log-probabilities of a back-off n-gram model; a state stands for all histories with the same next probabilities.

    p(w | h) is the probability of the n-gram hw if the model lists it, else backoff(h) p(w | h without its first word) (Katz 1987).
    `build_states` makes the states. `start` is the state after <s>, `empty` the state without a history. `unk` is None if the model has no
    <unk>. For its M n-grams and S states the model has these arrays:
    keys (M,) state before the last word * words + last word, sorted; log_probs (M,); next_states (M,);
    first (S + 1,) the first n-gram of each state; backoffs (S,); suffixes (S,) the state that a state backs off to.
    """

    def __init__(self, words: Sequence[str], order: int, arrays: dict[str, np.ndarray]) -> None:
        self.words, self.order = list(words), order
        self.keys, self.log_probs, self.next_states, self.first, self.backoffs, self.suffixes = (arrays[name] for name in _ARRAYS)
        self.index = {word: number for number, word in enumerate(self.words)}
        self.bos, self.eos, self.unk = self.index[BOS], self.index[EOS], self.index.get(UNK)
        self.empty, self.start = 0, int(self.next_states[self.bos])

    @classmethod
    def from_table(cls, table: Table) -> NgramModel:
        """Build the model of a table in memory."""
        return cls(table.words, len(table.orders), build_states(table))

    @classmethod
    def load(cls, path: Path) -> NgramModel:
        """Map a file that `write_model` wrote; processes share its memory. Raises UserError if it is damaged or of another kind."""
        facts, arrays = map_arrays(path)
        try:
            words = arrays.pop("words").tobytes().decode().split("\n")
            model = cls(words, facts["order"], arrays)
            if len(model.index) == len(words) and len(model.suffixes) + 1 == len(model.first) and model.first[-1] == len(model.keys):
                return model
        except (KeyError, IndexError, ValueError, TypeError):
            pass
        raise UserError(f"{path}: a damaged n-gram model; write it again with python -m m2asr.bin.lm")

    def ids(self, words: Iterable[str]) -> list[int]:
        """The numbers of words; unknown words are `unk`, or -1 if the model has no <unk>."""
        unknown = -1 if self.unk is None else self.unk
        return [self.index.get(word, unknown) for word in words]

    def rows(self, states: Tensor) -> Tensor:
        """Natural log-probabilities of every word after the states, (N,) to (N, words) float32; about -228 for <s>, never predicted."""
        state, words = states.numpy(force=True), len(self.words)
        row, carried, levels = np.arange(len(state)), np.zeros(len(state), np.float32), []
        total = np.empty(len(state), np.float32)  # the back-off weights from a state down to the empty one
        while len(row):
            last = state == self.empty
            total[row[last]] = carried[last]
            row, state, carried = row[~last], state[~last], carried[~last]
            levels.append((row, state, carried))
            state, carried = self.suffixes[state], carried + self.backoffs[state]
        rows = self.log_probs[:words] + total[:, None]  # (N, words): the unigrams are the first n-grams
        flat = rows.reshape(-1)
        for row, state, carried in reversed(levels):  # from short contexts to long ones, whose values replace the earlier ones
            begin, count = self.first[state], self.first[state + 1] - self.first[state]
            ngram = np.arange(count.sum()) + np.repeat(begin - count.cumsum() + count, count)
            flat[self.keys[ngram] + np.repeat((row - state) * words, count)] = self.log_probs[ngram] + np.repeat(carried, count)
        return torch.from_numpy(rows).to(states.device)

    def scores(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Natural log-probabilities of words (N,) after states (N,), and the states they lead to: (N,) float32 and (N,) int64.

        A word of -1, unknown to a model without <unk>, has about -228 and leads to the empty state.
        """
        log_probs, following = self._scores(states.numpy(force=True), words.numpy(force=True))
        return torch.from_numpy(log_probs).to(states.device), torch.from_numpy(following).to(states.device)

    def next(self, states: Tensor, words: Tensor) -> Tensor:
        """The states (N,) after states (N,) and words (N,)."""
        return self.scores(states, words)[1]

    def sentence(self, words: Iterable[str]) -> list[float]:
        """Natural log-probabilities of the words of a sentence after <s>, and of its end."""
        state, scores = np.array([self.start]), []
        for number in [*self.ids(words), self.eos]:
            score, state = self._scores(state, np.array([number]))
            scores.append(float(score[0]))
        return scores

    def _scores(self, state: np.ndarray, word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_probs = np.full(len(state), ZERO, np.float32)
        following = np.full(len(state), self.empty, np.int64)
        row = np.flatnonzero(word >= 0)
        state, word, carried = state[row], word[row], np.zeros(len(row), np.float32)
        while len(row):
            ngram = lookup(self.keys, state * np.int64(len(self.words)) + word)
            hit, miss = ngram >= 0, ngram < 0
            listed = ngram[hit]
            log_probs[row[hit]] = carried[hit] + self.log_probs[listed]
            following[row[hit]] = self.next_states[listed]
            carried, state = carried[miss] + self.backoffs[state[miss]], self.suffixes[state[miss]]
            row, word = row[miss], word[miss]
        return log_probs, following
