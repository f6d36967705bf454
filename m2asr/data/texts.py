"""Texts of data directories, per language, for tokenizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from m2asr.data.directory import read_table
from m2asr.errors import UserError


def read_texts(folder: Path, text: str) -> dict[str, list[str]]:
    """{language: texts} of the file `text` of a data directory; empty where it has no such file. Raises UserError without the folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data directory; run stage 0 (data) first")
    if not (folder / text).is_file():
        return {}
    langs = read_table(folder / "utt2lang")
    found = defaultdict(list)
    for utt, line in read_table(folder / text).items():
        if utt not in langs:
            raise UserError(f"{folder / 'utt2lang'}: {utt} of {text} has no language; run `python -m m2asr.bin.validate {folder}`")
        found[langs[utt]].append(line)
    return dict(found)


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
        wanted = max(len(texts), round(largest * (len(texts) / largest) ** (1 / temperature)))
        balanced += (texts * -(-wanted // len(texts)))[:wanted]
    return balanced
