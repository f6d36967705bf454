"""What a user is told about a language model: its n-grams, its smoothing, its perplexity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m2asr.lm.build import Estimated
from m2asr.lm.sources import Sources
from m2asr.lm.table import Table


def estimated_lines(estimated: Estimated, sources: Sources, wanted: int) -> Iterator[str]:
    """The text, and the n-grams and the smoothing of every order; `wanted` is the order that was asked for."""
    table, unit = estimated.table, "words" if sources.tokenizer is None else "tokens"
    empty = f", {sources.empty} empty lines left out" if sources.empty else ""
    yield f"text: {estimated.sentences} sentences, {estimated.tokens} {unit}{empty}; vocabulary {len(table.words)} with <unk>, <s>, </s>"
    if len(estimated.counted) < wanted:
        order = len(estimated.counted)
        yield f"order {wanted} lowered to {order}: the longest sentence has {order - 2} {unit}, <s> and </s>"
    for n, (counted, smoothing) in enumerate(zip(estimated.counted, estimated.smoothings, strict=True), 1):
        left = len(table.orders[n - 1]) if n <= len(table.orders) else 0
        pruned = f", {left} after pruning" if left < counted else ""
        yield f"{n}-grams: {counted}{pruned}; {smoothing}"


def table_lines(table: Table) -> Iterator[str]:
    """The n-grams of every order of a model that was read."""
    for n, order in enumerate(table.orders, 1):
        yield f"{n}-grams: {len(order)}"


def dev_line(model: Path, sources: Sources) -> str:
    """Perplexity of texts, ends of sentences counted, with and without what the model does not know."""
    from m2asr.lm.ngram import NgramModel  # torch takes a second to import, and memory
    from m2asr.lm.perplexity import measure

    found = measure(NgramModel.load(model), sources)
    name, unit = ", ".join(map(str, sources.paths)), "words" if sources.tokenizer is None else "tokens"
    if not found.sentences:
        return f"{name}: no text, so no perplexity"
    text = f"{name}: {found.sentences} sentences, {found.words - found.sentences} {unit}, perplexity {found.with_unknown:.2f}"
    return text + (f", {found.without_unknown:.2f} without {found.unknown} unknown {unit}" if found.unknown else f", all {unit} known")
