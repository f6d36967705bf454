"""python -m m2asr.bin.codes as a user calls it, from speech to a decoder of characters and codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from m2asr.bin.codes import main
from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.models.experts import Experts
from m2asr.text.tokenizer import Tokenizer
from m2asr.train.initialize import load_trained
from tests.conftest import command
from tests.decode.conftest import Run, run, untrained  # noqa: F401 - fixtures


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--codebook", "x.npz", "--clusters", 5), ["--clusters is for a new codebook", "--codebook"]),
        (("--pool", 0), ["--pool 0", "at least 1"]),
        (("--share", 1.5), ["--share 1.5", "at most 1"]),
        (("--batch_seconds", 0), ["--batch_seconds 0"]),
        (("--cluster", 5), ["did you mean --clusters"]),
    ],
)
def test_options_that_do_not_fit_together_are_an_error(args, words) -> None:
    result = command("codes", "data/x", "--exp", "exp/x", *args)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and all(word in result.stderr for word in words), result.stderr


def test_a_codebook_is_learned_kept_and_given_to_further_sets(run: Run, tmp_path: Path) -> None:  # noqa: F811
    english, italian = run.data / "dev_en", run.data / "test_it"
    (tmp_path / "align/dev_en").mkdir(parents=True)
    utt = next(iter(read_table(english / "text")))
    (tmp_path / "align/dev_en/tokens.ctm").write_text(f"{utt} 1 0.0 0.5 a\n{utt} 1 0.5 9.0 b\n")
    options = ("--exp", run.exp, "--dump", run.dump)
    result = command("codes", english, *options, "--tap", "block1", "--clusters", 12, "--align", tmp_path / "align")
    assert result.returncode == 0 and not result.stderr, result.stderr
    path = run.exp / "codes/codebook.npz"
    assert result.stdout.startswith(f"{path}: 12 clusters of block1, 2 states each, from dev_en\n{english}/text.codes: written, 10 utt")
    purity = r"\n  purity [01]\.\d+ over 2 labels of .*tokens.ctm \(a single code: [01]\.\d+\), .*% of the codes have a label\n"
    assert re.search(purity, result.stdout)

    content = path.read_bytes()
    result = command("codes", italian, english, *options, "--codebook", path, "--align", tmp_path / "align")
    assert result.returncode == 0 and path.read_bytes() == content, result.stderr
    assert f"{english}/text.codes: unchanged" in result.stdout
    assert f"purity: unknown, as there is no {tmp_path}/align/test_it/tokens.ctm" in result.stdout
    assert {line.split()[-1] for folder in (english, italian) for line in read_table(folder / "utt2codes").values()} == {
        read_table(english / "utt2codes")[utt].split()[-1]
    }
    result = command("codes", italian, *options, "--codebook", tmp_path / "none.npz")
    assert result.returncode == 1 and "none.npz: not a readable codebook (cannot read: No such file or directory)" in result.stderr


def test_a_set_without_an_expert_is_told_before_anything_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    config, system, tokenizers = load_trained(run.exp)
    system.encoder.experts = Experts(count=1, router="language", languages=["en"])
    monkeypatch.setattr("m2asr.decode.pooled_states.load_trained", lambda exp, device: (config, system, tokenizers))
    sets = [str(run.data / name) for name in ("dev_en", "test_it")]
    with pytest.raises(UserError, match="test_it: no expert of the encoder is for language it, only for en; leave this set out"):
        main([*sets, "--exp", str(run.exp), "--dump", str(run.dump), "--clusters", "5"])
    assert not (run.data / "dev_en/text.codes").exists() and not (run.exp / "codes").exists()


@pytest.mark.slow
def test_characters_and_codes_are_learned_by_one_decoder(run: Run, tmp_path: Path) -> None:  # noqa: F811
    sets, exp = ["dev_en", "test_en"], tmp_path / "exp"
    result = command("codes", *(run.data / name for name in sets), "--exp", run.exp, "--dump", run.dump, "--clusters", 10)
    assert result.returncode == 0, result.stderr
    attention = {"type": "attention", "stream": "en", "decoder": "writer"}
    config = {
        "model": {
            "encoder": {"type": "conformer", "blocks": 1, "dim": 16, "heads": 2, "kernel": 7, "subsampling": "windows"},
            "writer": {"type": "transformer", "blocks": 1, "dim": 16, "heads": 2, "joined": ["en", "codes"]},
        },
        "streams": {"en": {"sets": sets[:1], "dev": sets[1:]}},
        "tokens": {"en": {"sets": sets[:1]}, "codes": {"type": "codes", "size": 20, "sets": sets[:1], "text": "text.codes"}},
        "objectives": {
            "s2t": {**attention, "tokens": "en"},
            "s2c": {**attention, "tokens": "codes", "text": "text.codes", "decode": False},
        },
        "train": {"epochs": 1, "precision": "float32", "workers": 0},
    }
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(config))
    result = command("tokens", "--config", path, "--data", run.data, "--out", exp / "tokens")
    assert result.returncode == 0, result.stderr
    assert "tokens.codes: codes, 20 tokens from 10 texts of dev_en\n  s2c, dev_en (en): 10 texts, 0." in result.stdout
    tokenizer = Tokenizer.load(exp / "tokens/codes")
    for text in read_table(run.data / "dev_en/text.codes").values():
        assert tokenizer.decode(tokenizer.encode(text)) == text
    result = command("train", "--config", path, "--data", run.data, "--dump", run.dump, "--exp", exp, "--threads", 1)
    assert result.returncode == 0 and (exp / "model.pt").is_file(), result.stderr

    table = read_table(run.data / "test_en/utt2codes")
    (run.data / "test_en/utt2codes").write_text("".join(f"{utt} {value[:-4]}beef\n" for utt, value in table.items()))
    result = command("tokens", "--config", path, "--data", run.data, "--out", exp / "tokens")
    assert result.returncode == 1 and "test_en: its codes are of another codebook than those of" in result.stderr, result.stderr
