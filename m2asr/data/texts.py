"""Reads the texts of data directories, per language, for tokenizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from m2asr.data.lines import rows_of, shown
from m2asr.errors import UserError


def read_texts(folder: Path, text: str) -> dict[str, list[str]]:
    """{language: texts} of the file `text` of a data directory; empty if it has no such file.

    The text and utt2lang are read in step, so memory holds only the texts. Raises UserError if the folder does not exist, and (file:line)
    if ids are unsorted or have no language.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data directory; run stage 0 (data) first")
    if not (folder / text).is_file():
        return {}
    langs, by_language = rows_of(folder / "utt2lang"), defaultdict(list)
    lang = next(langs, None)
    for row in rows_of(folder / text):
        while lang is not None and lang.id < row.id:
            lang = next(langs, None)
        if lang is None or lang.id != row.id:
            where = f"{folder / text}:{row.number}: {shown(row.id)}"
            raise UserError(f"{where} has no language in {folder / 'utt2lang'}; run `python -m m2asr.bin.validate {folder}`")
        by_language[lang.value.decode()].append(row.value.decode())
    return dict(by_language)


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
