"""Reads the texts of data directories, per language, for tokenizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.data.lines import Row, rows_of, shown
from m2asr.errors import UserError


def read_texts(folder: Path, text: str) -> dict[str, list[str]]:
    """{language: texts} of the file `text` of a data directory; empty if it has no such file.

    Raises UserError if the folder does not exist, and (file:line) if ids are unsorted or have no language.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data directory; run stage 0 (data) first")
    by_language = defaultdict(list)
    if (folder / text).is_file():
        for row, lang in rows_with_language(folder, text):
            by_language[lang].append(row.value.decode())
    return dict(by_language)


def rows_with_language(folder: Path, text: str) -> Iterator[tuple[Row, str]]:
    """The lines of the file `text` of a data directory with the languages of their utterances; text and utt2lang are read in step.

    Raises UserError (file:line) if ids are unsorted or have no language.
    """
    langs = rows_of(folder / "utt2lang")
    lang = next(langs, None)
    for row in rows_of(folder / text):
        while lang is not None and lang.id < row.id:
            lang = next(langs, None)
        if lang is None or lang.id != row.id:
            where = f"{folder / text}:{row.number}: {shown(row.id)}"
            raise UserError(f"{where} has no language in {folder / 'utt2lang'}; run `python -m m2asr.bin.validate {folder}`")
        yield row, lang.value.decode()


def training_texts(folders: Sequence[Path], text: str, temperature: float) -> list[str]:
    """The texts of several sets, small languages repeated so that language l has a share of about n_l^(1 / temperature)."""
    pooled = defaultdict(list)
    for folder in folders:
        for lang, texts in read_texts(folder, text).items():
            pooled[lang] += texts
    if not pooled:
        return []
    largest = max(len(texts) for texts in pooled.values())
    balanced = []
    for lang in sorted(pooled):
        texts = pooled[lang]
        count = max(len(texts), round(largest * (len(texts) / largest) ** (1 / temperature)))
        balanced += (texts * -(-count // len(texts)))[:count]
    return balanced
