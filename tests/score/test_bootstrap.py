"""Bootstrap intervals: coverage of the truth, determinism, pairs."""

from __future__ import annotations

import math

import numpy as np

from m2asr.score.bootstrap import error_rate, interval, paired_interval


def counts(rate: float, utterances: int, seed: int) -> np.ndarray:
    """Utterances of ten tokens with independent substitutions."""
    errors = np.random.default_rng(seed).binomial(10, rate, utterances)
    return np.stack([errors, np.zeros_like(errors), np.zeros_like(errors), np.full_like(errors, 10)], axis=1)


def test_the_interval_holds_the_truth_nineteen_times_in_twenty():
    inside = 0
    for seed in range(200):
        low, high = interval(counts(0.3, 80, seed), error_rate, samples=400)
        inside += low <= 0.3 <= high
    assert 0.90 <= inside / 200 <= 0.99


def test_it_is_the_same_at_every_call_and_shrinks_with_data():
    few, many = counts(0.3, 50, 0), counts(0.3, 5000, 0)
    assert interval(few, error_rate) == interval(few, error_rate)
    width = [high - low for low, high in (interval(few, error_rate), interval(many, error_rate))]
    assert width[1] < width[0] / 5


def test_pairs_see_differences_that_single_intervals_hide():
    worse = counts(0.3, 200, 1)
    better = worse.copy()
    better[::4, 0] = np.maximum(0, better[::4, 0] - 1)  # a little better on every fourth utterance
    low, high = paired_interval(worse, better, error_rate)
    assert low < high < 0
    assert interval(worse, error_rate)[0] < interval(better, error_rate)[1]
    assert paired_interval(worse, worse, error_rate) == (0.0, 0.0)


def test_nothing_scored_is_not_a_number():
    nothing = np.zeros((0, 4))
    assert all(map(math.isnan, (*interval(nothing, error_rate), *paired_interval(nothing, nothing, error_rate))))
