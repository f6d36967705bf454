"""What a system must beat: answers that need no listening, or no more than picking a known sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein


def nearest_sentences(references: Sequence[str], training: Sequence[str], characters: bool = False) -> list[str]:
    """For every reference the training sentence with the fewest word (or character) errors: an oracle that only knows those.

    Where several share the least distance, the first in the alphabet.
    """
    known = sorted(set(training))
    # rapidfuzz is fastest on strings, so each word becomes one character; words in no reference match nothing and may share one
    codes = {word: chr(code) for code, word in enumerate(sorted({word for text in references for word in text.split()}), 1)}

    def encode(text: str) -> str:
        return text if characters else "".join(codes.get(word, "\0") for word in text.split())

    encoded = [encode(text) for text in known]
    nearest = []
    for reference in references:
        _, _, place = process.extractOne(encode(reference), encoded, scorer=Levenshtein.distance, processor=None)
        nearest.append(known[place])
    return nearest


def most_frequent(training: Sequence[str]) -> str:
    """The most frequent training sentence, the first in the alphabet where several share the place."""
    counts = Counter(training)
    return min(counts, key=lambda sentence: (-counts[sentence], sentence)) if counts else ""
