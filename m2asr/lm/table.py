"""A back-off n-gram model as tables: the content of ARPA files, with words and contexts as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOS, EOS, UNK = "<s>", "</s>", "<unk>"
LOG10 = float(np.log(10.0))
ZERO = -99.0 * LOG10  # the log of a probability of zero: ARPA's -99


@dataclass
class Order:
    """The n-grams of one order, sorted by context and word; logarithms are natural.

    context (M,) int32: the row of the first n - 1 words in the order below; 0 for unigrams, whose rows are the words in their order.
    suffix (M,) int32: the row of the last n - 1 words in the order below, or -1 if the model does not list them.
    """

    context: np.ndarray
    word: np.ndarray  # (M,) int32
    suffix: np.ndarray
    log_prob: np.ndarray  # (M,) float32
    backoff: np.ndarray  # (M,) float32, of the n-gram as a context; 0 if it has no weight

    def __len__(self) -> int:
        return len(self.word)

    def keys(self, words: int) -> np.ndarray:
        """A number per n-gram, (M,) int64, sorted, for a vocabulary of `words` words."""
        return self.context * np.int64(words) + self.word


@dataclass
class Table:
    """A vocabulary and the n-grams of every order, the unigrams first."""

    words: list[str]
    orders: list[Order]

    def ngrams(self, n: int, rows: np.ndarray | slice) -> np.ndarray:
        """The words of some n-grams of order n, (rows, n) int32."""
        order = self.orders[n - 1]
        columns, row = [order.word[rows]], order.context[rows]
        for shorter in reversed(self.orders[: n - 1]):
            columns.append(shorter.word[row])
            row = shorter.context[row]
        return np.stack(columns[::-1], 1)

    def select(self, keep: Sequence[np.ndarray]) -> Table:
        """The table of the n-grams `keep`, (M,) bool per order; it must keep all unigrams, and the context and suffix of kept n-grams."""
        orders, rows = [], np.zeros(1, np.int32)  # the new rows of the n-grams of the order below
        for order, selected in zip(self.orders, keep, strict=True):
            context, suffix = rows[order.context[selected]], rows[order.suffix[selected]]
            orders.append(Order(context, order.word[selected], suffix, order.log_prob[selected], order.backoff[selected]))
            rows = np.cumsum(selected, dtype=np.int32) - np.int32(1)
        while not len(orders[-1]):
            orders.pop()
        return Table(self.words, orders)


def lookup(keys: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The rows of `queries` (N,) in the sorted `keys` (M,): (N,) int64, -1 for a query that is not among them."""
    if not len(keys):
        return np.full(len(queries), -1)
    row = np.searchsorted(keys, queries)
    row[row == len(keys)] = 0
    row[keys[row] != queries] = -1
    return row


def find_ngrams(keys: Sequence[np.ndarray], ngrams: np.ndarray) -> np.ndarray:
    """The rows of n-grams (N, n) among those of their order, (N,) int64, -1 if not listed; `keys` are the keys of all orders."""
    row = ngrams[:, 0].astype(np.int64)
    for n in range(1, ngrams.shape[1]):
        row = np.where(row < 0, -1, lookup(keys[n], row * len(keys[0]) + ngrams[:, n]))
    return row
