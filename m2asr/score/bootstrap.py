"""95 % confidence intervals by resampling utterances."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

SAMPLES = 1000
SEED = 20240601


def interval(counts: np.ndarray, score: Callable[[np.ndarray], float], samples: int = SAMPLES) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of `score` over resampled utterances.

    counts: (N, S) additive statistics per utterance; score takes their sums (S,). The draws are the same at every call.
    """
    if not len(counts):
        return float("nan"), float("nan")
    scores = [score(sums) for sums in _sums(counts, samples)]
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return float(low), float(high)


def paired(first: np.ndarray, second: np.ndarray, score: Callable[[np.ndarray], float], samples: int = SAMPLES) -> tuple[float, float]:
    """The interval of score(second) - score(first) where both systems answered the same utterances (N, S)."""
    return paired_means([(first, second, score)], samples)


def paired_means(
    sets: Sequence[tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], float]]], samples: int = SAMPLES
) -> tuple[float, float]:
    """The interval of the mean over `sets` of score(second) - score(first), every set resampled on its own."""
    differences = np.zeros(samples)
    for place, (first, second, score) in enumerate(sets):
        if len(first) != len(second):
            raise ValueError(f"a paired bootstrap needs the same utterances, got {len(first)} and {len(second)}")
        if not len(first):
            return float("nan"), float("nan")
        both = zip(_sums(first, samples, place), _sums(second, samples, place), strict=True)
        differences += np.array([score(two) - score(one) for one, two in both]) / len(sets)
    low, high = np.nanpercentile(differences, [2.5, 97.5])
    return float(low), float(high)


def error_rate(sums: np.ndarray) -> float:
    """Errors over reference tokens from summed counts (4,) of substitutions, deletions, insertions and reference tokens."""
    return float(sums[:3].sum() / sums[3]) if sums[3] else float("nan")


def _sums(counts: np.ndarray, samples: int, stream: int = 0) -> np.ndarray:
    """Summed statistics (samples, S) of resampled utterances; other streams draw other ones."""
    rng, share = np.random.default_rng(SEED + stream), np.full(len(counts), 1 / len(counts))
    # how often each utterance is drawn (N,), one sample at a time: memory does not grow with their number
    return np.stack([rng.multinomial(len(counts), share) @ counts for _ in range(samples)])
