"""95 % confidence intervals by resampling utterances."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

SAMPLES = 1000
SEED = 20240601


def interval(counts: np.ndarray, score: Callable[[np.ndarray], float], samples: int = SAMPLES) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of `score` over resampled utterances.

    counts: (N, S) additive statistics per utterance; score takes their sums (S,). Every call resamples the same utterances.
    """
    if not len(counts):
        return float("nan"), float("nan")
    scores = [score(sums) for sums in _sums(counts, samples)]
    if np.isnan(scores).all():  # no utterance has a reference
        return float("nan"), float("nan")
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return float(low), float(high)


def paired_interval(
    first: np.ndarray, second: np.ndarray, score: Callable[[np.ndarray], float], samples: int = SAMPLES
) -> tuple[float, float]:
    """The interval of score(second) - score(first) of two systems on the same utterances (N, S)."""
    return paired_mean_interval([(first, second, score)], samples)


def paired_mean_interval(
    sets: Sequence[tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], float]]], samples: int = SAMPLES
) -> tuple[float, float]:
    """The interval of the mean over `sets` of score(second) - score(first); every set is resampled independently."""
    differences = np.zeros(samples)
    for index, (first, second, score) in enumerate(sets):
        if len(first) != len(second):
            raise ValueError(f"a paired bootstrap needs the same utterances, got {len(first)} and {len(second)}")
        if not len(first):
            return float("nan"), float("nan")
        pairs = zip(_sums(first, samples, index), _sums(second, samples, index), strict=True)
        differences += np.array([score(second_sums) - score(first_sums) for first_sums, second_sums in pairs]) / len(sets)
    low, high = np.nanpercentile(differences, [2.5, 97.5])
    return float(low), float(high)


def error_rate(sums: np.ndarray) -> float:
    """Errors over reference tokens from summed counts (4,) of substitutions, deletions, insertions and reference tokens."""
    return float(sums[:3].sum() / sums[3]) if sums[3] else float("nan")


def _sums(counts: np.ndarray, samples: int, stream: int = 0) -> np.ndarray:
    """Summed statistics (samples, S) of resampled utterances; each stream has its own random numbers."""
    rng, share = np.random.default_rng(SEED + stream), np.full(len(counts), 1 / len(counts))
    # counts of each utterance (N,), one sample at a time, so that memory does not grow with the number of samples
    return np.stack([rng.multinomial(len(counts), share) @ counts for _ in range(samples)])
