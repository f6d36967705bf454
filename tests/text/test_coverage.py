from __future__ import annotations

from pathlib import Path

from m2asr.text.coverage import coverage
from m2asr.text.tokenizer import train_tokenizer


def test_counts_tokens_and_names_what_is_not_covered(tmp_path: Path) -> None:
    tokenizer = train_tokenizer("char", None, ["abc ab"], tmp_path / "abc")
    assert coverage(tokenizer, ["ab c", "a"]) == "2 texts, 1.67 tokens per word, unknown tokens 0.000%"
    line = coverage(tokenizer, ["ab xx", "xx ay"])
    assert "unknown tokens 50.000% in 2 words: xx, ay" in line
    assert coverage(tokenizer, []) == "0 texts, 0.00 tokens per word, unknown tokens 0.000%"
