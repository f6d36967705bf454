"""Sums, means and variances of features, in Kaldi's format of CMVN statistics."""

from __future__ import annotations

import numpy as np


def accumulate(feats: np.ndarray) -> np.ndarray:
    """Kaldi statistics (2, D + 1) float64 of features (T, D): sums and the number of frames, then sums of squares and 0.

    The statistics of utterances or sets can be added.
    """
    feats = feats.astype(np.float64)
    stats = np.zeros((2, feats.shape[1] + 1))
    stats[0, :-1], stats[0, -1] = feats.sum(axis=0), len(feats)
    stats[1, :-1] = np.square(feats).sum(axis=0)
    return stats


def mean_and_scale(stats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and 1 / standard deviation (D,) float64 from Kaldi statistics; variances are floored at 1e-8."""
    count = stats[0, -1]
    if count <= 0:
        raise ValueError("statistics of no frames")
    mean = stats[0, :-1] / count
    variance = stats[1, :-1] / count - mean**2
    return mean, 1.0 / np.sqrt(np.maximum(variance, 1e-8))
