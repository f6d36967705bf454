"""Permutations by place: every element once at any size, whatever is asked for first, and spread evenly."""

from __future__ import annotations

import numpy as np
import pytest

from m2asr.data.shuffle import keyed, shuffled


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9, 10, 17, 100, 10_007, 262_144])
def test_every_element_comes_once(size: int) -> None:
    for key in range(3):
        assert np.array_equal(np.sort(shuffled(np.arange(size), size, keyed(7, key))), np.arange(size))


def test_an_element_does_not_depend_on_the_other_positions() -> None:
    sizes, keys = np.array([5, 1000, 5, 2**31 + 11]), keyed(3, np.array([0, 1, 2, 3]))
    positions = np.array([4, 999, 4, 2**31])
    together = shuffled(positions, sizes, keys)
    assert together.tolist() == [int(shuffled(positions[[i]], sizes[i], keys[[i]])[0]) for i in range(4)]
    assert (together < sizes).all()


def test_keys_name_different_permutations() -> None:
    orders = {tuple(shuffled(np.arange(50), 50, keyed(*key))) for key in [(1, 2), (2, 1), (1, 3), (0, 1, 2), (1, 2, 0), (1,)]}
    assert len(orders) == 6


@pytest.mark.parametrize("size", [2, 3, 7, 10, 64])
def test_every_element_is_as_likely_at_every_position(size: int) -> None:
    orders = 10_000
    positions, keys = np.tile(np.arange(size), orders), np.repeat(keyed(5, np.arange(orders)), size)
    times = np.bincount(positions * size + shuffled(positions, size, keys), minlength=size**2) / orders
    assert np.abs(times - 1 / size).max() < 5 * np.sqrt(1 / size / orders)  # 5 standard deviations


def test_neighbours_are_not_kept_together() -> None:
    order = shuffled(np.arange(100_000), 100_000, keyed(9))
    for lag in (1, 2, 316, 317):  # 317 columns
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 0.02
    assert abs(np.corrcoef(order, np.arange(100_000))[0, 1]) < 0.02
