"""Reads the texts of data directories, per language, for tokenizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.data.directory import CODE_LENGTHS
from m2asr.data.lines import Row, rows_of, shown
from m2asr.errors import UserError
from m2asr.files import recover


def read_texts(folder: Path, text: str) -> dict[str, list[str]]:
    """{language: texts} of the file `text` of a data directory; empty if it has no such file.

    Raises UserError if the folder does not exist, and (file:line) if ids are unsorted or have no language.
    """
    if not recover(folder).is_dir():
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


def check_codebooks(folders: Sequence[Path]) -> None:
    """Raise UserError if the codes of two sets are of different codebooks, as far as the first line of their utt2codes tells."""
    tables = {folder / CODE_LENGTHS: folder for folder in folders if (folder / CODE_LENGTHS).is_file()}
    digests = {folder: next((row.value.split()[-1:] for row in rows_of(path)), []) for path, folder in tables.items()}
    for folder, digest in digests.items():
        if digest != next(iter(digests.values())):
            problem = f"its codes are of another codebook than those of {next(iter(digests))}"
            raise UserError(f"{folder}: {problem}; write them again with m2asr.bin.codes --codebook")


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
