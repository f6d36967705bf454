"""What a system must beat: answers that need no listening, or no more than picking a known sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein


def nearest_sentences(references: Sequence[str], training: Sequence[str], characters: bool = False) -> list[str]:
    """For every reference the training sentence with the fewest word (or character) errors: an oracle that only knows those."""
    known = sorted(set(training))
    split = list if characters else str.split
    tokens = [split(sentence) for sentence in known]
    nearest = []
    for reference in references:
        # the least distance, the first in the alphabet where several share it
        _, _, place = process.extractOne(split(reference), tokens, scorer=Levenshtein.distance, processor=None)
        nearest.append(known[place])
    return nearest


def most_frequent(training: Sequence[str]) -> str:
    """The most frequent training sentence, the first in the alphabet where several share the place."""
    counts = Counter(training)
    return min(counts, key=lambda sentence: (-counts[sentence], sentence)) if counts else ""
