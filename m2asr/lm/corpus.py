"""Turns a text into word numbers in a file, and a vocabulary."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2asr.lm.table import BOS, EOS, UNK

_FLUSH = 1 << 20  # numbers held in memory before they go to the file


@dataclass
class Corpus:
    """A text: `ids` (T,) int32, mapped from a file, are the word numbers of all sentences in turn, with <s> before and </s> after each."""

    words: list[str]  # <unk>, <s>, </s>, then the tokens or words
    ids: np.ndarray
    sentences: int

    @property
    def tokens(self) -> int:
        """Words in the text, without <s> and </s>."""
        return len(self.ids) - 2 * self.sentences


def number_words(sentences: Iterable[list[str]], path: Path, vocabulary: Iterable[str] | None = None) -> Corpus:
    """Write the word numbers of sentences to the file `path`.

    With a `vocabulary` all other words become <unk>; without one it consists of all words in the order of their first occurrence.
    """
    index: defaultdict[str, int] = defaultdict()
    for word in (UNK, BOS, EOS, *(vocabulary or ())):
        index.setdefault(word, len(index))
    if vocabulary is None:
        index.default_factory = index.__len__  # a new word takes the next number
    unk, bos, eos = index[UNK], index[BOS], index[EOS]
    count, numbers = 0, array("i")
    with open(path, "wb") as file:
        for words in sentences:
            numbers.append(bos)
            numbers.extend(map(index.__getitem__, words) if vocabulary is None else [index.get(word, unk) for word in words])
            numbers.append(eos)
            count += 1
            if len(numbers) >= _FLUSH:
                numbers.tofile(file)
                del numbers[:]
        numbers.tofile(file)
    return Corpus(list(index), np.memmap(path, np.int32, "r") if count else np.zeros(0, np.int32), count)
