from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from m2asr.lm.ngram import NgramModel
from m2asr.text.tokenizer import train_tokenizer
from tests.conftest import command


def test_a_model_of_tokens_is_estimated_told_and_taken_over_again(mini_data: Path, tmp_path: Path) -> None:
    train_tokenizer("char", None, ["the quick brown fox jumps over the lazy dog's back"], tmp_path / "tokens")
    text, dev = mini_data / "train_en", mini_data / "dev_en"
    common = ["--tokens", tmp_path / "tokens", "--dev", dev]
    done = command("lm", "--text", text, *common, "--order", 5, "--prune", 0, 0, 0, 1, "--out", tmp_path / "lm")
    assert done.returncode == 0, done.stderr
    assert "text: 366 sentences, 10602 tokens; vocabulary 31 with" in done.stdout
    assert "1-grams: 31; Witten-Bell, no n-gram has count 1" in done.stdout
    assert re.search(r"4-grams: 2960, \d+ after pruning; Kneser-Ney, discounts 0.\d+ [01].\d+ [0-2].\d+", done.stdout)
    perplexity = re.search(r"dev_en: 63 sentences, \d+ tokens, (perplexity \d\.\d\d, all tokens known)", done.stdout)
    assert sorted(path.name for path in (tmp_path / "lm").iterdir()) == ["lm.arpa", "lm.bin"]
    assert NgramModel.load(tmp_path / "lm/lm.bin").order == 5
    arpa = tmp_path / "published.arpa.gz"
    arpa.write_bytes(gzip.compress((tmp_path / "lm/lm.arpa").read_bytes()))
    again = command("lm", "--arpa", arpa, *common, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert perplexity[1] in again.stdout
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["lm.bin"]


def test_a_model_of_words_tells_what_it_left_out_and_lowered(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one\n\n")
    (tmp_path / "dev.txt").write_text("one two\n")
    args = ["--text", tmp_path / "text.txt", "--words", "--order", 5, "--dev", tmp_path / "dev.txt", "--gzip", "--out", tmp_path / "lm"]
    done = command("lm", *args)
    assert done.returncode == 0, done.stderr
    assert "1 sentences, 1 words, 1 empty lines left out; vocabulary 4" in done.stdout
    assert "order 5 lowered to 3: the longest sentence has 1 words" in done.stdout
    assert re.search(r"dev.txt: 1 sentences, 2 words, perplexity \d+\.\d\d, \d+\.\d\d without 1 unknown words", done.stdout)
    assert sorted(path.name for path in (tmp_path / "lm").iterdir()) == ["lm.arpa.gz", "lm.bin"]


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["--text", "none.txt", "--words"], "none.txt: no such file or folder", 1),
        (["--text", "README.md", "--words", "--dev", "none.txt"], "none.txt: no such file or folder", 1),
        (["--text", "m2asr/__init__.py", "--tokens", "none"], "none: not a readable tokenizer", 1),
        (["--text", "tests/lm/__init__.py", "--words"], "no text to estimate a language model from", 1),
        (["--arpa", "README.md"], "README.md:", 1),
        (["--arpa", "README.md", "--order", "3"], "--arpa takes a model over as it is", 2),
        (["--text", "README.md"], "--text needs --tokens DIR or --words", 2),
        (["--text", "README.md", "--words", "--order", "11"], "--order 11: 1 to 10", 2),
        (["--text", "README.md", "--words", "--prune", "1"], "--prune 1: the counts begin with 0", 2),
        (["--text", "README.md", "--words", "--prune", "0", "2", "1"], "--prune 0 2 1: the counts begin with 0", 2),
        (["--text", "README.md", "--words", "--every", "0"], "--every 0", 2),
    ],
)
def test_wrong_input_is_one_line(args: list[str], message: str, code: int, tmp_path: Path) -> None:
    done = command("lm", *args, "--out", tmp_path / "lm")
    assert done.returncode == code and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list((tmp_path / "lm").glob("*")) if (tmp_path / "lm").exists() else True
