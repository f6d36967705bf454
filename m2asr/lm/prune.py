"""Prunes n-gram models by entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from m2asr.lm.table import Table


def prune(table: Table, histories: Sequence[np.ndarray], threshold: float) -> Table:
    """Remove the n-grams without which the perplexity rises by less than the share `threshold` (Stolcke 1998, equations 3 to 6).

    histories[n - 1] (M_n,) is the probability of every n-gram as a history; relative frequencies serve Kneser-Ney models better than the
    model's own lower orders (Chelba et al. 2010). Contexts and suffixes of kept n-grams are kept. Each n-gram is judged alone, then the
    back-off weights are set so that probabilities sum to 1. Every n-gram but unigrams needs its suffix in `table`.
    """
    keep = [np.zeros(len(order), bool) for order in table.orders]
    keep[0][:] = True
    orders = [replace(order, backoff=order.backoff.copy()) for order in table.orders]
    for n in range(len(orders) - 1, 0, -1):
        order, lower, context = orders[n], orders[n - 1], orders[n].context
        prob, below = (np.exp(values.astype(np.float64)) for values in (order.log_prob, lower.log_prob[order.suffix]))
        remaining_below = np.maximum(1 - np.bincount(context, below, len(lower)), 0)  # p(words not listed after h | h'), (M_{n-1},)
        remaining = np.exp(lower.backoff) * remaining_below  # p(words not listed after h | h)
        alone = np.log((remaining[context] + prob) / (remaining_below[context] + below))  # the log back-off weight without the n-gram
        loss = prob * (np.log(prob / below) - alone) + remaining[context] * (lower.backoff[context] - alone)
        keep[n] |= np.expm1(histories[n - 1][context] * loss) >= threshold
        keep[n - 1][context[keep[n]]] = True
        keep[n - 1][order.suffix[keep[n]]] = True
        removed = ~keep[n]
        remaining += np.bincount(context[removed], prob[removed], len(lower))
        remaining_below += np.bincount(context[removed], below[removed], len(lower))
        changed = np.unique(context[removed])
        lower.backoff[changed] = np.log(remaining[changed] / remaining_below[changed])
    return Table(table.words, orders).select(keep)
