"""Intervals contain the true value as often as they promise, on gradients whose true cosine and noise are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from m2asr.moo.monitor import cross_cosines
from m2asr.report.conflict_stats import Cosines, corrected, mean

SIZE = 400  # columns of a gradient


def measured(generator, truth, noise, steps, shared=0.0):
    """Cosines of a log: two objectives with true gradients (2, P), two batches per step, and noise of a length.

    The two objectives have the share `shared` of the variance of the noise in common.
    """
    lines = []
    for _ in range(steps):
        separate, common = generator.standard_normal((2, 2, SIZE)), generator.standard_normal((2, 1, SIZE))  # (batch, objective, P)
        rows = truth + noise / math.sqrt(SIZE) * (math.sqrt(1 - shared) * separate + math.sqrt(shared) * common)
        rows = torch.tensor(rows.swapaxes(0, 1).reshape(4, SIZE))  # objective 0 in two batches, then objective 1
        batches = [{("x", 0)}, {("x", 1)}, {("x" if shared else "y", 0)}, {("x" if shared else "y", 1)}]
        cross = dict(zip(("layer", "all"), cross_cosines((rows @ rows.T)[None], [0, 0, 1, 1], batches), strict=True))
        one_batch = torch.nn.functional.cosine_similarity(rows[[0, 2]][:, None], rows[[0, 2]], dim=-1)
        conflict = {"names": ["a", "b"], "matrix": one_batch.tolist(), "layers": {"layer": one_batch.tolist()}}
        lines.append({"conflict": conflict | {"cross": {layer: matrix.tolist() for layer, matrix in cross.items()}}})
    return Cosines(lines)


def directions(cosine):
    """Two true gradients (2, P) of length 1."""
    truth = np.zeros((2, SIZE))
    truth[0, 0], truth[1, :2] = 1.0, (cosine, math.sqrt(1 - cosine**2))
    return truth


def test_pairs_without_a_conflict_are_called_one_as_often_as_promised():
    """2.5 % below and 2.5 % above 0, for few steps and many, and for steps that depend on each other."""
    generator = np.random.default_rng(1)
    for steps in (4, 12, 35):
        means = [mean(generator.standard_normal(steps)) for _ in range(4000)]
        for share in (np.mean([estimate.negative for estimate in means]), np.mean([estimate.positive for estimate in means])):
            assert share == pytest.approx(0.025, abs=0.007), steps
    noise = generator.standard_normal((2000, 201))
    drifting = noise[:, 1:] + noise[:, :-1]  # neighbours have a correlation of 0.5
    assert np.mean([mean(row).negative for row in drifting]) == pytest.approx(0.025, abs=0.015)
    single_steps = [row.mean() + 1.96 * row.std(ddof=1) / math.sqrt(len(row)) < 0 for row in drifting]
    assert np.mean(single_steps) > 0.06  # an interval that takes steps for independent is too narrow


def test_gradients_of_independent_directions_are_not_told_from_0():
    generator = np.random.default_rng(2)
    means = [measured(generator, directions(0.0), noise=3.0, steps=12).mean((0, 1)) for _ in range(300)]
    assert np.mean([estimate.negative for estimate in means]) <= 0.05 and np.mean([estimate.positive for estimate in means]) <= 0.05
    assert abs(np.mean([estimate.value for estimate in means])) < 0.003


def test_the_true_cosine_comes_back_from_heavy_noise():
    """Selves of 0.05 turn a cosine of -0.3 into one of -0.015, which is still a conflict."""
    generator = np.random.default_rng(3)
    covered, values = [], []
    for _ in range(60):
        cosines = measured(generator, directions(-0.3), noise=math.sqrt(19), steps=100)
        assert cosines.mean((0, 0)).value == pytest.approx(0.05, abs=0.02) and abs(cosines.mean((0, 1)).value) < 0.035
        true = cosines.corrected((0, 1))
        covered.append(true.low <= -0.3 <= true.high)
        values.append(true.value)
    assert 0.88 <= np.mean(covered) <= 1.0
    assert np.mean(values) == pytest.approx(-0.3, abs=0.04)
    many = measured(generator, directions(-0.3), noise=math.sqrt(19), steps=1000)
    assert many.mean((0, 1)).negative and many.counts() == (1, 0, 0)


def test_a_shared_batch_biases_the_cosine_of_one_batch_and_not_that_of_independent_batches():
    generator = np.random.default_rng(4)
    cosines = measured(generator, directions(-0.3), noise=3.0, steps=200, shared=0.5)
    assert mean(cosines.one_batch[:, 0, 1]).positive  # the common noise makes a conflict look like its opposite
    assert cosines.mean((0, 1)).negative
    true = cosines.corrected((0, 1))
    assert true.low <= -0.3 <= true.high


def test_selves_of_halves_are_doubled_where_the_pair_comes_from_full_batches():
    """Two streams of one batch each: selves come from halves, which have twice the noise variance of the batch that the pair comes from."""
    generator = np.random.default_rng(7)
    truth, noise = directions(-0.3), 4.0 / math.sqrt(SIZE)
    rows = truth[:, None] + noise * generator.standard_normal((400, 2, 2, SIZE))  # (step, objective, half, P)
    full = rows.mean(2)
    values = [
        (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        for a, b in ((full[:, 0], full[:, 1]), (rows[:, 0, 0], rows[:, 0, 1]), (rows[:, 1, 0], rows[:, 1, 1]))
    ]
    true, naive = corrected(values[0], values[1:], (True, True)), corrected(values[0], values[1:])
    assert true.low < -0.3 < true.high < naive.value + 0.5 and naive.high < -0.3


def test_without_a_gradient_above_the_noise_there_is_no_true_cosine():
    generator = np.random.default_rng(5)
    values = generator.standard_normal((3, 40))
    assert not corrected(values[0], [1 + values[1], values[2]]).known
    assert corrected(values[0], [1 + 0.1 * values[1], 1 + 0.1 * values[2]]).known


def test_a_mean_of_few_observations_has_a_wide_interval_or_none():
    gaps = np.full(20, np.nan)
    assert math.isnan(mean(gaps).value)
    gaps[3] = 0.5
    assert mean(gaps).value == 0.5 and not mean(gaps).known and not mean(gaps).positive
    gaps[17] = 0.6
    assert mean(gaps).known and mean(gaps).low == pytest.approx(0.55 - 12.706 * 0.05)
    assert mean(np.array([0.5, 0.6])) == mean(gaps)


def test_the_corrected_interval_follows_series_with_gaps():
    """The selves are measured in a sixth of the steps."""
    generator = np.random.default_rng(6)
    covered = []
    for _ in range(150):
        pair, first, second = (value + 0.1 * generator.standard_normal(90) for value in (-0.15, 0.5, 0.5))
        first[np.arange(90) % 6 != 0], second[np.arange(90) % 6 != 3] = np.nan, np.nan
        true = corrected(pair, [first, second])
        covered.append(true.low <= -0.3 <= true.high)
    assert np.mean(covered) >= 0.92
