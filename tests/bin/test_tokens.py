from __future__ import annotations

import re
from pathlib import Path

from m2asr.data.directory import read_table
from m2asr.text.tokenizer import Tokenizer
from tests.conftest import ROOT, command

CONFIG = ROOT / "egs/mini/conf/train_m2asr.yaml"


def test_trains_every_tokenizer_and_reports_coverage(mini_data: Path, tmp_path: Path) -> None:
    sizes = ["tokens.en.type=unigram", "tokens.en.size=100"]
    result = command("tokens", "--config", CONFIG, "--set", *sizes, "--data", mini_data, "--out", tmp_path / "tokens")
    assert result.returncode == 0, result.stderr
    assert Tokenizer.load(tmp_path / "tokens" / "en").size == 100
    for name in ("it", "ru", "en_cased"):
        tokenizer = Tokenizer.load(tmp_path / "tokens" / name)
        assert f"tokens.{name}: char, {tokenizer.size} tokens" in result.stdout
    cased = Tokenizer.load(tmp_path / "tokens" / "en_cased")  # translations keep their case and punctuation
    translation = next(iter(read_table(mini_data / "train_it" / "text.en").values()))
    assert cased.decode(cased.encode(translation)) == translation
    for objective, set_name, lang in (("asr_en", "dev_en", "en"), ("asr_ru", "train_ru", "ru"), ("st_it_en", "dev_it", "it")):
        assert re.search(rf"{objective}, {set_name} \({lang}\): \d+ texts, .* unknown tokens \d\.\d+%", result.stdout)


def test_wrong_sets_and_settings_are_named_in_one_line(mini_data: Path, tmp_path: Path) -> None:
    for change, message in (
        ("tokens.en.sets=[train_xx]", "train_xx: no such data directory; run stage 0"),
        ("tokens.en.text=text.xx", "correct tokens.en.sets or .text"),
        ("tokens.en.type=unigram", "tokens.en.size: missing"),
        ("tokens.en.kind=bpe", "unknown key"),
    ):
        result = command("tokens", "--config", CONFIG, "--set", change, "--data", mini_data, "--out", tmp_path / "tokens")
        assert result.returncode == 1 and message in result.stderr and result.stderr.count("\n") == 1
