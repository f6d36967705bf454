"""Entropy pruning of n-gram models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from m2asr.lm.table import Table


def prune(table: Table, histories: Sequence[np.ndarray], threshold: float) -> Table:
    """A model without the n-grams whose loss raises the perplexity by less than the share `threshold` (Stolcke 1998, equations 3 to 6).

    histories[n - 1] (M_n,) is the probability that n-gram as a history; relative frequencies serve Kneser-Ney models better than the
    model's own lower orders (Chelba et al. 2010). Contexts and suffixes of what stays do stay. Each n-gram is judged alone, then the
    back-off weights are set so that probabilities sum to 1. Every n-gram but unigrams needs its suffix in `table`.
    """
    keep = [np.zeros(len(order), bool) for order in table.orders]
    keep[0][:] = True
    backoffs = [order.backoff for order in table.orders]
    for n in range(len(table.orders) - 1, 0, -1):
        order, lower = table.orders[n], table.orders[n - 1]
        log_prob, below = order.log_prob.astype(np.float64), lower.log_prob[order.suffix].astype(np.float64)
        context = order.context
        left = 1 - np.bincount(context, np.exp(log_prob), len(lower))  # (M_{n-1},) what a context leaves to back-off
        left_below = 1 - np.bincount(context, np.exp(below), len(lower))
        alone = np.log((left[context] + np.exp(log_prob)) / (left_below[context] + np.exp(below)))  # the back-off weight without it
        loss = np.exp(log_prob) * (log_prob - below - alone) + left[context] * (lower.backoff[context] - alone)
        keep[n] |= np.expm1(histories[n - 1][context] * loss) >= threshold
        keep[n - 1][context[keep[n]]] = True
        keep[n - 1][order.suffix[keep[n]]] = True
        kept = keep[n]
        left = 1 - np.bincount(context[kept], np.exp(log_prob[kept]), len(lower))
        left_below = 1 - np.bincount(context[kept], np.exp(below[kept]), len(lower))
        backoffs[n - 1] = np.log(left / left_below).astype(np.float32)
    orders = [replace(order, backoff=backoff) for order, backoff in zip(table.orders, backoffs, strict=True)]
    return Table(table.words, orders).select(keep)
