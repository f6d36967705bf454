"""A folder of a run that several tests train in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train import recipe


@pytest.fixture(scope="module")
def tokens(mini_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizers of the recipe's config."""
    exp = tmp_path_factory.mktemp("tokens")
    recipe.prepare(exp, mini_data)
    return exp / "tokens"


@pytest.fixture
def exp(tokens: Path, tmp_path: Path) -> Path:
    """A folder for a run, with its tokenizers."""
    return recipe.folder(tmp_path / "exp", tokens)
