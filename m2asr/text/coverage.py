"""Measures how well a tokenizer covers texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from m2asr.text.tokenizer import UNK, Tokenizer


def coverage(tokenizer: Tokenizer, texts: Sequence[str]) -> str:
    """A line with texts, tokens per word, the share of unknown tokens, and the most frequent words with unknown tokens."""
    tokens = unknown = words = 0
    uncovered: Counter[str] = Counter()
    for text in texts:
        ids = tokenizer.encode(text)
        tokens += len(ids)
        words += len(text.split())
        if UNK in ids:
            unknown += ids.count(UNK)
            uncovered.update(word for word in text.split() if UNK in tokenizer.encode(word))
    line = f"{len(texts)} texts, {tokens / max(1, words):.2f} tokens per word, unknown tokens {unknown / max(1, tokens):.3%}"
    return line + (f" in {len(uncovered)} words: {', '.join(word for word, _ in uncovered.most_common(5))}" if uncovered else "")
