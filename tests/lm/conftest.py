from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.data.directory import read_table
from m2asr.text.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def sentences(mini_data: Path) -> list[list[str]]:
    """The words of the English training transcripts."""
    return [text.split() for text in read_table(mini_data / "train_en/text").values()]


@pytest.fixture(scope="session")
def letters(sentences: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A character tokenizer of these transcripts."""
    return train_tokenizer("char", None, map(" ".join, sentences), tmp_path_factory.mktemp("tokens") / "en")
