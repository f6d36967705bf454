"""Counts the n-grams of a text, order by order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from m2asr.progress import visible

CHUNK = 1 << 23  # positions of the text sorted at once


@dataclass
class Counts:
    """The n-grams of one order, sorted by context and word; context and suffix are rows of the order below (see table.Order)."""

    context: np.ndarray  # (M,) int32
    word: np.ndarray  # (M,) int32
    suffix: np.ndarray  # (M,) int32
    count: np.ndarray  # (M,) int32, int64 of texts of 2^31 words and more
    bos: np.ndarray  # (M,) bool, whether it begins with <s>

    def __len__(self) -> int:
        return len(self.word)


def count_ngrams(text: np.ndarray, words: int, order: int, bos: int, folder: Path) -> list[Counts]:
    """Count the n-grams of orders 1 to `order`, or to a lower one if no sentence is so long.

    text (T,) int32 holds the sentences in turn, each with `bos` before and an end after it; `words` is the size of the vocabulary. An
    n-gram is a row of the order below and a word, so a single 64-bit key sorts n-grams of any length. Files in `folder` hold the n-gram
    that ends at every position, so memory holds only one chunk of the text and the distinct n-grams.
    """
    kind = np.int32 if len(text) < 1 << 31 else np.int64
    count = np.zeros(words, kind)
    ending = np.memmap(folder / "order1", np.int32, "w+", shape=text.shape)  # the n-gram that ends at every position, -1 for none
    for begin in range(0, len(text), CHUNK):
        count += np.bincount(text[begin : begin + CHUNK], minlength=words)
        ending[begin : begin + CHUNK] = text[begin : begin + CHUNK]
    word = np.arange(words, dtype=np.int32)
    zeros = np.zeros(words, np.int32)
    orders = [Counts(zeros, word, zeros, count, word == bos)]
    for n in tqdm(range(2, order + 1), desc="count", unit="order", disable=not visible()):
        longer = np.memmap(folder / f"order{n}", np.int32, "w+", shape=text.shape)
        keys, count = _extend(text, words, bos, ending, longer)
        if not len(keys):
            break
        suffix = np.empty(len(keys), np.int32)
        for begin in range(0, len(text), CHUNK):
            row = longer[begin : begin + CHUNK]
            suffix[row[row >= 0]] = ending[begin : begin + CHUNK][row >= 0]
        context = (keys // words).astype(np.int32)
        orders.append(Counts(context, (keys % words).astype(np.int32), suffix, count.astype(kind), orders[-1].bos[context]))
        (folder / f"order{n - 1}").unlink()
        ending = longer
    return orders


def _extend(text: np.ndarray, words: int, bos: int, ending: np.ndarray, longer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Extend the n-gram that ends at each position by the next word: sorted keys (M,) and counts (M,); fills `longer` with their rows."""
    counted, last = [], -1  # the n-gram that ends before the chunk
    for begin in range(0, len(text), CHUNK):
        word, row = text[begin : begin + CHUNK], ending[begin : begin + CHUNK]
        context = np.append(last, row[:-1])
        last = row[-1]
        valid = (context >= 0) & (word != bos)
        keys, inverse, count = _unique(context[valid] * np.int64(words) + word[valid])
        longer[begin : begin + CHUNK] = -1
        longer[begin : begin + CHUNK][valid] = inverse
        counted.append((keys, count))
    if len(counted) == 1:
        return counted[0]
    keys = np.concatenate([keys for keys, _ in counted])
    keys.sort()
    keys = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
    total = np.zeros(len(keys), np.int64)
    for begin, (chunk_keys, count) in zip(range(0, len(text), CHUNK), counted, strict=True):
        row = np.searchsorted(keys, chunk_keys).astype(np.int32)  # of the chunk's n-grams among all
        total[row] += count
        chunk = longer[begin : begin + CHUNK]
        chunk[chunk >= 0] = row[chunk[chunk >= 0]]
    return keys, total


def _unique(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct keys (M,), sorted, the row of each key among them (N,) int32, and the count of each (M,) int64."""
    by_key = np.argsort(keys)
    keys = keys[by_key]
    new = np.append(True, keys[1:] != keys[:-1]) if len(keys) else np.zeros(0, bool)
    inverse = np.empty(len(keys), np.int32)
    inverse[by_key] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    first = np.flatnonzero(new)
    return keys[first], inverse, np.diff(np.append(first, len(keys)))
