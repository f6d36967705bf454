"""Builds the states of an n-gram model: the contexts that need states, and the state after every n-gram."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2asr.lm.storage import write_arrays
from m2asr.lm.table import Table, find_ngrams

_CHUNK = 1 << 20  # states looked up at once


def write_model(path: Path, table: Table) -> None:
    """Write the compact form of a model, which NgramModel.load maps."""
    words = np.frombuffer("\n".join(table.words).encode(), np.uint8)
    write_arrays(path, {"order": len(table.orders)}, {"words": words, **build_states(table)})


def build_states(table: Table) -> dict[str, np.ndarray]:
    """Build the arrays of an NgramModel. A state is a context that some n-gram extends or that has a back-off weight; 0 is the empty one.

    Any other context gives every word the same probability as its longest suffix among the states. So the state of a history is that of
    its longest suffix that has a state (as the right states of KenLM, Heafield 2011, section 4).
    """
    words, total = len(table.words), sum(len(order) for order in table.orders)
    keys, following = np.empty(total, np.int64), np.empty(total, np.int32)
    backoffs, suffixes = [np.zeros(1, np.float32)], [np.zeros(1, np.int32)]
    contexts, states, begin = np.zeros(1, np.int32), 1, 0  # the states of the n-grams of the order below
    for n, order in enumerate(table.orders, 1):
        end = begin + len(order)
        keys[begin:end] = contexts[order.context]
        keys[begin:end] *= words
        keys[begin:end] += order.word
        is_state = order.backoff != 0
        if n < len(table.orders):
            is_state[table.orders[n].context] = True
        shorter = contexts[order.suffix]  # the state of the longest proper suffix
        if (unlisted := np.flatnonzero(order.suffix < 0)).size:
            shorter[unlisted] = _shorter(table, n, unlisted, following)
        numbers = np.cumsum(is_state, dtype=np.int32) + np.int32(states - 1)
        contexts = following[begin:end] = np.where(is_state, numbers, shorter)
        backoffs.append(order.backoff[is_state])
        suffixes.append(shorter[is_state])
        states, begin = states + int(is_state.sum()), end
    first = np.empty(states + 1, np.int64)
    for begin in range(0, states + 1, _CHUNK):
        chunk = first[begin : begin + _CHUNK]
        chunk[:] = np.searchsorted(keys, np.arange(begin, begin + len(chunk)) * np.int64(words))
    return {
        "keys": keys,
        "log_probs": np.concatenate([order.log_prob for order in table.orders]),
        "next_states": following,
        "first": first,
        "backoffs": np.concatenate(backoffs),
        "suffixes": np.concatenate(suffixes),
    }


def _shorter(table: Table, n: int, rows: np.ndarray, following: np.ndarray) -> np.ndarray:
    """The states of the longest listed suffixes of n-grams whose suffix of order n - 1 is not listed; pruned models have such n-grams."""
    ngrams, states = table.ngrams(n, rows), np.full(len(rows), -1, np.int32)
    listed = [order.keys(len(table.words)) for order in table.orders[: n - 2]]
    first = np.cumsum([0, *map(len, listed)])
    for shorter in range(1, n - 1):  # a longer suffix replaces a shorter one
        row = find_ngrams(listed, ngrams[:, -shorter:])
        states[row >= 0] = following[first[shorter - 1] + row[row >= 0]]
    return states
