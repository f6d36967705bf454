"""Interpolated modified Kneser-Ney smoothing of n-gram counts, and Witten-Bell smoothing where counts are too few for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2asr.lm.counts import Counts
from m2asr.lm.table import ZERO, Order, Table


@dataclass
class Smoothing:
    """The smoothing of an order: discounts of n-grams with counts 1, 2 and above, or None for Witten-Bell, with the reason."""

    discounts: tuple[float, float, float] | None
    reason: str = ""

    def __str__(self) -> str:
        if self.discounts is None:
            return f"Witten-Bell, {self.reason}"
        return "Kneser-Ney, discounts " + " ".join(f"{discount:.3f}" for discount in self.discounts)


def estimate(words: Sequence[str], counts: list[Counts], cutoffs: Sequence[int]) -> tuple[Table, list[Smoothing]]:
    """Estimate a model from counts (Chen & Goodman 1999, section 3 and equations 17 to 26); returns it with the smoothings.

    If the order above is discounted, an order counts the different words before an n-gram, but for n-grams that begin with <s> their
    occurrences, since no word precedes <s>. Unigrams are interpolated with the uniform distribution over the words with </s> and <unk>.
    N-grams of order n that occur at most cutoffs[n - 1] times are left out afterwards; the back-off gets their probability, as in KenLM.
    """
    smoothings: list[Smoothing] = []
    adjusted: list[np.ndarray] = []
    for n in range(len(counts), 0, -1):  # the order above decides which counts an order uses
        count = counts[n - 1].count
        if smoothings and smoothings[0].discounts is not None:
            before = np.bincount(counts[n].suffix, minlength=len(count))
            count = np.where(counts[n - 1].bos, count, before.astype(count.dtype))
        if n == 1:
            count = np.where(counts[0].bos, 0, count)  # <s> is never predicted
        adjusted.insert(0, count)
        smoothings.insert(0, choose_smoothing(count))
    keep = [ngrams.count > cutoff for ngrams, cutoff in zip(counts, cutoffs, strict=True)]
    keep[0][:] = True
    orders: list[Order] = []
    probs = np.full(1, 1 / (len(words) - 1))  # of the order below; at first of the uniform distribution
    for count, ngrams, smoothing, selected in zip(adjusted, counts, smoothings, keep, strict=True):
        shares, remaining = _shares(count, ngrams.context, selected, smoothing, len(probs))
        if orders:
            orders[-1].backoff = np.log(remaining).astype(np.float32)
        probs = shares + remaining[ngrams.context] * probs[ngrams.suffix]
        log_prob = np.log(probs).astype(np.float32)
        orders.append(Order(ngrams.context, ngrams.word, ngrams.suffix, log_prob, np.zeros(len(ngrams), np.float32)))
    orders[0].log_prob[counts[0].bos] = ZERO
    table = Table(list(words), orders)
    return table.select(keep) if any(cutoffs) else table, smoothings


def choose_smoothing(count: np.ndarray) -> Smoothing:
    """The discounts of an order by its counts of counts (equation 26), or Witten-Bell if these are 0 or give bad discounts."""
    times = [int((count == k).sum()) for k in range(1, 5)]  # n_1 ... n_4
    if 0 in times:
        return Smoothing(None, f"no n-gram has count {times.index(0) + 1}")
    ratio = times[0] / (times[0] + 2 * times[1])
    discounts = tuple(k - (k + 1) * ratio * times[k] / times[k - 1] for k in (1, 2, 3))
    if not all(0 < discount <= k for k, discount in enumerate(discounts, 1)):
        return Smoothing(None, f"the discounts {' '.join(f'{discount:.2f}' for discount in discounts)} are out of range")
    return Smoothing(discounts)


def _shares(count: np.ndarray, context: np.ndarray, keep: np.ndarray, smoothing: Smoothing, contexts: int) -> tuple[np.ndarray, np.ndarray]:
    """The probability that each n-gram has without the order below (M,), and the rest of each context for the order below (contexts,)."""
    total = np.bincount(context, count, contexts)
    if smoothing.discounts is None:  # (c(hw) + T(h) p(w | h')) / (c(h) + T(h)), T(h) being the number of different words after h
        discounts, extra = np.zeros(len(count)), np.bincount(context, count > 0, contexts)
        total += extra
    else:
        discounts, extra = np.array([0.0, *smoothing.discounts])[np.minimum(count, 3)], 0.0
    remaining = np.bincount(context, np.where(keep, discounts, count), contexts) + extra
    remaining = np.divide(remaining, total, out=np.ones(contexts), where=total > 0)  # all where nothing follows a context
    return (count - discounts) / total[context], remaining
