from __future__ import annotations

import re
from pathlib import Path

import yaml

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


def test_tokens_that_are_read_are_covered_as_those_that_are_written(mini_data: Path, tmp_path: Path) -> None:
    config = {
        "model": {"encoder": "conformer", "embed": {"type": "embedding", "tokens": "words"}, "writer": "transformer"},
        "streams": {"it": {"sets": ["train_it"], "dev": ["dev_it"]}},
        "tokens": {"en": {"sets": ["train_it"], "text": "text.en"}, "words": {"type": "words", "size": 100, "sets": ["train_it"]}},
        "objectives": {
            "t2t": {
                **{"type": "attention", "stream": "it", "tokens": "en", "text": "text.en", "decoder": "writer", "decode": False},
                "view": {"input": "words", "embed": "embed"},
            }
        },
        "train": {"hours": 1},
    }
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(config))
    result = command("tokens", "--config", tmp_path / "conf.yaml", "--data", mini_data, "--out", tmp_path / "tokens")
    assert result.returncode == 0, result.stderr
    assert len(Tokenizer.load(tmp_path / "tokens/words").tokens) == 100
    written, read = result.stdout.split("tokens.words: words, 100 tokens")
    assert re.search(r"t2t, dev_it \(it\): \d+ texts, [^1]", written)
    assert re.search(r"t2t, dev_it \(it\): \d+ texts, 1.00 tokens per word, unknown tokens \d+\.\d+% in \d+ words: ", read)
