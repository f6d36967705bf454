from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from m2asr.lm.ngram import NgramModel
from m2asr.text.tokenizer import train_tokenizer
from tests.conftest import command


def test_a_model_of_tokens_is_estimated_reported_and_converted_from_its_arpa_file(mini_data: Path, tmp_path: Path) -> None:
    train_tokenizer("char", None, ["the quick brown fox jumps over the lazy dog's back"], tmp_path / "tokens")
    text, dev = mini_data / "train_en", mini_data / "dev_en"
    common = ["--tokens", tmp_path / "tokens", "--dev", dev]
    result = command("lm", "--text", text, *common, "--order", 5, "--prune", 0, 0, 0, 1, "--out", tmp_path / "lm")
    assert result.returncode == 0, result.stderr
    assert "text: 366 sentences, 10602 tokens; vocabulary 31 with" in result.stdout
    assert "1-grams: 31; Witten-Bell, no n-gram has count 1" in result.stdout
    assert re.search(r"4-grams: 2960, \d+ after pruning; Kneser-Ney, discounts 0.\d+ [01].\d+ [0-2].\d+", result.stdout)
    perplexity = re.search(r"dev_en: 63 sentences, \d+ tokens, (perplexity \d\.\d\d, all tokens known)", result.stdout)
    assert sorted(path.name for path in (tmp_path / "lm").glob("[!.]*")) == ["lm.arpa", "lm.bin"]
    assert NgramModel.load(tmp_path / "lm/lm.bin").order == 5
    arpa = tmp_path / "published.arpa.gz"
    arpa.write_bytes(gzip.compress((tmp_path / "lm/lm.arpa").read_bytes()))
    again = command("lm", "--arpa", arpa, *common, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert perplexity[1] in again.stdout
    assert [path.name for path in (tmp_path / "again").glob("[!.]*")] == ["lm.bin"]


def test_the_report_of_a_model_of_words_has_empty_lines_and_a_lowered_order(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one\n\n")
    (tmp_path / "dev.txt").write_text("one two\n")
    args = ["--text", tmp_path / "text.txt", "--words", "--order", 5, "--dev", tmp_path / "dev.txt", "--gzip", "--out", tmp_path / "lm"]
    result = command("lm", *args)
    assert result.returncode == 0, result.stderr
    assert "1 sentences, 1 words, 1 empty lines left out; vocabulary 4" in result.stdout
    assert "order 5 lowered to 3: the longest sentence has 1 words" in result.stdout
    assert re.search(r"dev.txt: 1 sentences, 2 words, perplexity \d+\.\d\d, \d+\.\d\d without 1 unknown words", result.stdout)
    assert sorted(path.name for path in (tmp_path / "lm").glob("[!.]*")) == ["lm.arpa.gz", "lm.bin"]


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["--text", "none.txt", "--words"], "none.txt: no such file or folder", 1),
        (["--text", "README.md", "--words", "--dev", "none.txt"], "none.txt: no such file or folder", 1),
        (["--text", "m2asr/__init__.py", "--tokens", "none"], "none: not a readable tokenizer", 1),
        (["--text", "tests/lm/__init__.py", "--words"], "no text to estimate a language model from", 1),
        (["--arpa", "README.md"], "README.md:", 1),
        (["--arpa", "README.md", "--order", "3"], "--arpa converts a model as it is", 2),
        (["--text", "README.md"], "--text needs --tokens DIR or --words", 2),
        (["--text", "README.md", "--words", "--order", "11"], "--order 11: 1 to 10", 2),
        (["--text", "README.md", "--words", "--prune", "1"], "--prune 1: the counts begin with 0", 2),
        (["--text", "README.md", "--words", "--prune", "0", "2", "1"], "--prune 0 2 1: the counts begin with 0", 2),
        (["--text", "README.md", "--words", "--every", "0"], "--every 0", 2),
    ],
)
def test_wrong_input_is_one_line(args: list[str], message: str, code: int, tmp_path: Path) -> None:
    result = command("lm", *args, "--out", tmp_path / "lm")
    assert result.returncode == code and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not list((tmp_path / "lm").glob("*")) if (tmp_path / "lm").exists() else True
