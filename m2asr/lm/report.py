"""Lines for the user about a language model: its n-grams, its smoothing, its perplexity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m2asr.lm.build import Estimated
from m2asr.lm.sources import Sources
from m2asr.lm.table import Table


def estimated_lines(estimated: Estimated, sources: Sources, requested: int) -> Iterator[str]:
    """Lines about the text, and the n-grams and smoothing of every order; `requested` is the order that the user gave."""
    table, unit = estimated.table, "words" if sources.tokenizer is None else "tokens"
    empty = f", {sources.empty} empty lines left out" if sources.empty else ""
    yield f"text: {estimated.sentences} sentences, {estimated.tokens} {unit}{empty}; vocabulary {len(table.words)} with <unk>, <s>, </s>"
    if len(estimated.counted) < requested:
        order = len(estimated.counted)
        yield f"order {requested} lowered to {order}: the longest sentence has {order - 2} {unit}, <s> and </s>"
    for n, (counted, smoothing) in enumerate(zip(estimated.counted, estimated.smoothings, strict=True), 1):
        remaining = len(table.orders[n - 1]) if n <= len(table.orders) else 0
        pruned = f", {remaining} after pruning" if remaining < counted else ""
        yield f"{n}-grams: {counted}{pruned}; {smoothing}"


def table_lines(table: Table) -> Iterator[str]:
    """Lines with the number of n-grams of every order of a model."""
    for n, order in enumerate(table.orders, 1):
        yield f"{n}-grams: {len(order)}"


def dev_line(model: Path, sources: Sources) -> str:
    """A line with the perplexity of texts, ends of sentences included, with and without unknown words."""
    from m2asr.lm.ngram import NgramModel  # torch takes a second to import, and memory
    from m2asr.lm.perplexity import measure

    result = measure(NgramModel.load(model), sources)
    name, unit = ", ".join(map(str, sources.paths)), "words" if sources.tokenizer is None else "tokens"
    if not result.sentences:
        return f"{name}: no text, so no perplexity"
    text = f"{name}: {result.sentences} sentences, {result.words - result.sentences} {unit}, perplexity {result.with_unknown:.2f}"
    return text + (f", {result.without_unknown:.2f} without {result.unknown} unknown {unit}" if result.unknown else f", all {unit} known")
