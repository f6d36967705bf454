"""Estimates an n-gram model from texts, or reads one from an ARPA file, and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from m2asr.errors import UserError
from m2asr.files import temporary_dir
from m2asr.lm.arpa import read_arpa
from m2asr.lm.arpa_write import write_arpa
from m2asr.lm.corpus import number_words
from m2asr.lm.counts import count_ngrams
from m2asr.lm.kneser_ney import Smoothing, estimate
from m2asr.lm.prune import prune
from m2asr.lm.sources import Sources
from m2asr.lm.states import write_model
from m2asr.lm.table import BOS, Table
from m2asr.ownership import claim
from m2asr.text.tokenizer import SPECIAL_FIRST, SPECIAL_LAST

BINARY, ARPA = "lm.bin", "lm.arpa"  # in the folder of a model


@dataclass
class Estimated:
    """An estimated model, and facts about its text and its estimation."""

    table: Table
    smoothings: list[Smoothing]  # per order
    counted: list[int]  # n-grams per order before pruning
    sentences: int
    tokens: int


def estimate_model(sources: Sources, order: int, cutoffs: Sequence[int], threshold: float, scratch: Path) -> Estimated:
    """Estimate a model from all sentences of `sources`; its order is lower if no sentence has n-grams of this order.

    `cutoffs` has a count for each order up to `order` (see estimate), `threshold` is that of entropy pruning, 0 for none. `scratch` is a
    folder for temporary files, 12 bytes per token. Raises UserError if there is no text.
    """
    vocabulary = None
    if sources.tokenizer is not None:
        vocabulary = [token for token in sources.tokenizer.tokens if token not in (*SPECIAL_FIRST, *SPECIAL_LAST)]
    with temporary_dir(scratch / "corpus") as folder:
        corpus = number_words(sources, folder / "ids", vocabulary)
        if not corpus.sentences:
            raise UserError(f"{', '.join(map(str, sources.paths))}: no text to estimate a language model from; name other files")
        counts = count_ngrams(corpus.ids, len(corpus.words), order, corpus.words.index(BOS), folder)
    table, smoothings = estimate(corpus.words, counts, cutoffs[: len(counts)])
    if threshold:
        shares = [order.count / (corpus.tokens + corpus.sentences) for order in counts]
        histories = [share[order.count > cutoff] for share, order, cutoff in zip(shares[1:], counts[1:], cutoffs[1:], strict=False)]
        table = prune(table, [shares[0], *histories], threshold)
    return Estimated(table, smoothings, [len(order) for order in counts], corpus.sentences, corpus.tokens)


def write_both(folder: Path, table: Table, gzip: bool) -> list[Path]:
    """Write the compact form and the ARPA file of a model into a folder; returns their paths."""
    arpa = folder / (f"{ARPA}.gz" if gzip else ARPA)
    claim(folder, [BINARY, ARPA, f"{ARPA}.gz"])
    write_arpa(arpa, table)
    write_model(folder / BINARY, table)
    (folder / (ARPA if gzip else f"{ARPA}.gz")).unlink(missing_ok=True)  # of an earlier model
    return [arpa, folder / BINARY]


def convert(arpa: Path, folder: Path) -> tuple[Table, list[Path]]:
    """Write the compact form of an ARPA file into a folder; returns the model and the path."""
    table = read_arpa(arpa)
    claim(folder, [BINARY])
    write_model(folder / BINARY, table)
    return table, [folder / BINARY]
