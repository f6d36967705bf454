"""The states of an n-gram model: which contexts must be told apart, and where every n-gram leads."""

from __future__ import annotations

import numpy as np

from m2asr.lm.table import Table, lookup


def build_states(table: Table) -> dict[str, np.ndarray]:
    """The arrays of an NgramModel. A state is a context that some n-gram extends or that has a back-off weight; state 0 is the empty one.

    Any other context gives every word the probability that its longest suffix among the states gives, so that a history is in the state
    of its longest suffix that is one (as the right states of KenLM, Heafield 2011, section 4).
    """
    words = len(table.words)
    sizes = [1, *(len(order) for order in table.orders)]  # the empty context is node 0, the n-grams follow by order
    first = np.cumsum([0, *sizes])  # the first node of every order
    parent = np.concatenate([order.context + first[n] for n, order in enumerate(table.orders)])  # of node j + 1
    word = np.concatenate([order.word for order in table.orders])
    backoff = np.concatenate([np.zeros(1, np.float32), *(order.backoff for order in table.orders)])
    link = _links(table, first, parent, word)
    is_state = backoff != 0
    is_state[parent] = True
    is_state[0] = True
    state = np.cumsum(is_state) - 1  # (nodes,)
    for begin, end in zip(first[1:], first[2:], strict=False):  # a link leads to a lower order, which is done
        rest = begin + np.flatnonzero(~is_state[begin:end])
        state[rest] = state[link[rest]]
    nodes = np.flatnonzero(is_state)
    keys = state[parent] * np.int64(words) + word
    return {
        "keys": keys,
        "log_probs": np.concatenate([order.log_prob for order in table.orders]),
        "next_states": state[1:].astype(np.int32),
        "first": np.searchsorted(keys, np.arange(len(nodes) + 1) * np.int64(words)),
        "backoffs": backoff[nodes],
        "suffixes": state[link[nodes]].astype(np.int32),
    }


def _links(table: Table, first: np.ndarray, parent: np.ndarray, word: np.ndarray) -> np.ndarray:
    """The node of the longest proper suffix of every node's words that is a node, (nodes,) int64; 0 for the empty one and unigrams."""
    keys = parent * np.int64(len(table.words)) + word
    link = np.zeros(first[-1], np.int64)
    for n, order in enumerate(table.orders[1:], 2):
        link[first[n] : first[n + 1]] = order.suffix + first[n - 1]
        nodes = first[n] + np.flatnonzero(order.suffix < 0)
        shorter = link[parent[nodes - 1]]
        while len(nodes):  # the longest suffix of the context that the word extends; the empty context has every word
            link[nodes] = lookup(keys, shorter * np.int64(len(table.words)) + word[nodes - 1]) + 1
            rest = link[nodes] == 0
            nodes, shorter = nodes[rest], link[shorter[rest]]
    return link
