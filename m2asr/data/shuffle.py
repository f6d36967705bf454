"""Random permutations of any size whose elements are computed one by one, without storing or shuffling a list."""

from __future__ import annotations

import numpy as np

ROUNDS = 4  # each changes both halves
_STEP, _FIRST, _SECOND = (np.uint64(constant) for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def keyed(*numbers: int | np.ndarray) -> np.ndarray:
    """A 64-bit key per element (N,), from non-negative numbers and arrays (N,) of them, which are broadcast."""
    key = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        key = _mixed(key + np.asarray(number).astype(np.uint64))
    return key


def shuffled(positions: np.ndarray, sizes: int | np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The elements at these positions (K,) of the permutations of 0 ... sizes - 1 that the keys name; int64 (K,).

    A Feistel network permutes rows x columns, which are at least as many as the size. A result beyond the size goes through the network
    again, so the results are a permutation (J. Black, P. Rogaway: Ciphers with arbitrary finite domains, CT-RSA 2002).
    """
    positions, sizes, keys = np.broadcast_arrays(np.asarray(positions, dtype=np.uint64), np.asarray(sizes, dtype=np.uint64), keys)
    rows = np.ceil(np.sqrt(sizes)).astype(np.uint64)
    columns = (sizes + rows - np.uint64(1)) // rows
    results, outside = positions.copy(), np.arange(len(positions))
    while len(outside):
        results[outside] = _network(results[outside], rows[outside], columns[outside], keys[outside])
        outside = outside[results[outside] >= sizes[outside]]
    return results.astype(np.int64)


def _network(positions: np.ndarray, rows: np.ndarray, columns: np.ndarray, keys: np.ndarray) -> np.ndarray:
    row, column = np.divmod(positions, columns)
    for _ in range(ROUNDS):
        keys = keys + _STEP
        row = (row + _mixed(column ^ keys) % rows) % rows
        keys = keys + _STEP
        column = (column + _mixed(row ^ keys) % columns) % columns
    return row * columns + column


def _mixed(values: np.ndarray) -> np.ndarray:
    """64 bits that each depend on all bits of the values (G. Steele and others: Fast splittable pseudorandom number generators, 2014)."""
    values = values + _STEP
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))
