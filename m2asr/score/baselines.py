"""Baselines that a system must beat: texts that need no audio, or only a choice among training sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from m2asr.text.scripts import mixed_tokens


def nearest_sentences(
    references: Sequence[str], training: Sequence[str], tokens: Callable[[str], Sequence[str]] = mixed_tokens
) -> list[str]:
    """The training sentence with the fewest wrong tokens for every reference, as an oracle would choose it.

    Of sentences with equal distances it is the first in the alphabet.
    """
    sentences = sorted(set(training))
    # rapidfuzz is fastest on strings, so each token becomes a character; tokens in no reference match nothing and share a character
    codes = {token: chr(code) for code, token in enumerate(sorted({token for text in references for token in tokens(text)}), 1)}

    def encode(text: str) -> str:
        return "".join(codes.get(token, "\0") for token in tokens(text))

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
