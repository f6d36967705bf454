"""A random permutation of any size, of which any place is computed by itself: nothing is stored, and nothing is shuffled beforehand."""

from __future__ import annotations

import numpy as np

ROUNDS = 4  # each changes both halves
_STEP, _FIRST, _SECOND = (np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def keyed(*parts: int | np.ndarray) -> np.ndarray:
    """A 64-bit key per element, from numbers from 0 and arrays of them, which are broadcast."""
    key = np.zeros(1, dtype=np.uint64)
    for part in parts:
        key = _mixed(key + np.asarray(part).astype(np.uint64))
    return key


def shuffled(places: np.ndarray, sizes: int | np.ndarray, keys: np.ndarray) -> np.ndarray:
    """What stands at these places (K,) of the permutations of 0 ... sizes - 1 that the keys name; int64 (K,).

    A Feistel network on rows x columns, which are at least as many as the size; what leads outside is sent through it again, which keeps
    it a permutation (J. Black, P. Rogaway: Ciphers with arbitrary finite domains, CT-RSA 2002).
    """
    places, sizes, keys = np.broadcast_arrays(np.asarray(places, dtype=np.uint64), np.asarray(sizes, dtype=np.uint64), keys)
    rows = np.ceil(np.sqrt(sizes)).astype(np.uint64)
    columns = (sizes + rows - np.uint64(1)) // rows
    found, outside = places.copy(), np.arange(len(places))
    while len(outside):
        found[outside] = _network(found[outside], rows[outside], columns[outside], keys[outside])
        outside = outside[found[outside] >= sizes[outside]]
    return found.astype(np.int64)


def _network(places: np.ndarray, rows: np.ndarray, columns: np.ndarray, keys: np.ndarray) -> np.ndarray:
    row, column = np.divmod(places, columns)
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
