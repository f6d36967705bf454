"""A back-off n-gram model as tables: what ARPA files hold, with words and contexts as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOS, EOS, UNK = "<s>", "</s>", "<unk>"
LOG10 = float(np.log(10.0))
ZERO = -99.0 * LOG10  # the log of a probability of zero: ARPA's -99


@dataclass
class Order:
    """The n-grams of one order, sorted by context and word; logarithms are natural.

    context (M,) int32: which n-gram of the order below the first n - 1 words are; 0 for unigrams, whose rows are the words in their order.
    suffix (M,) int32: which n-gram of the order below the last n - 1 words are, or -1 where the model lists none.
    """

    context: np.ndarray
    word: np.ndarray  # (M,) int32
    suffix: np.ndarray
    log_prob: np.ndarray  # (M,) float32
    backoff: np.ndarray  # (M,) float32, of the n-gram as a context; 0 where it has no weight

    def __len__(self) -> int:
        return len(self.word)

    def keys(self, words: int) -> np.ndarray:
        """One sorted number per n-gram, (M,) int64, for a vocabulary of `words` words."""
        return self.context * np.int64(words) + self.word


@dataclass
class Table:
    """A vocabulary and the n-grams of every order, the unigrams first."""

    words: list[str]
    orders: list[Order]


def lookup(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where `wanted` (N,) stands in the sorted `keys` (M,): (N,) int64, -1 for what is not there."""
    if not len(keys):
        return np.full(len(wanted), -1)
    row = np.searchsorted(keys, wanted)
    row[row == len(keys)] = 0
    row[keys[row] != wanted] = -1
    return row
