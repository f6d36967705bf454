"""Baselines that a system must beat: texts that need no audio, or only a choice among training sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein


def nearest_sentences(references: Sequence[str], training: Sequence[str], characters: bool = False) -> list[str]:
    """The training sentence with the fewest word (or character) errors for every reference, as an oracle would choose it.

    Of sentences with equal distances it is the first in the alphabet.
    """
    sentences = sorted(set(training))
    # rapidfuzz is fastest on strings, so each word becomes a character; words in no reference match nothing and share a character
    codes = {word: chr(code) for code, word in enumerate(sorted({word for text in references for word in text.split()}), 1)}

    def encode(text: str) -> str:
        return text if characters else "".join(codes.get(word, "\0") for word in text.split())

    encoded = [encode(text) for text in sentences]
    nearest = []
    for reference in references:
        _, _, index = process.extractOne(encode(reference), encoded, scorer=Levenshtein.distance, processor=None)
        nearest.append(sentences[index])
    return nearest


def most_frequent(training: Sequence[str]) -> str:
    """The most frequent training sentence; the first in the alphabet if several are equally frequent."""
    counts = Counter(training)
    return min(counts, key=lambda sentence: (-counts[sentence], sentence)) if counts else ""
