"""The files of a comparison."""

from __future__ import annotations

import pytest

from m2asr.errors import UserError
from m2asr.score.comparison import write_comparison
from tests.score.test_compare import scored


def test_table_and_picture(tmp_path):
    runs = {"base": [[scored(tmp_path / "a", {"en": 20})]], "good": [[scored(tmp_path / "b", {"en": 2})]]}
    text = write_comparison(tmp_path / "out", runs, "greedy")
    assert (tmp_path / "out/RESULTS.md").read_text() == text and "| good | 1 |" in text
    assert (tmp_path / "out/comparison.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_compare(tmp_path):
    with pytest.raises(UserError, match="no run in this folder is finished"):
        write_comparison(tmp_path, {}, "greedy")
