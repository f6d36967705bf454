"""Phones and codes of the sets from which a config reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.bin import codes
from m2asr.bin.texts import main
from m2asr.config import load_config
from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.train_checks import sets_with
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT

MINI = ROOT / "egs/mini/conf/train_mmspeech.yaml"
NAMES = [f"{part}_{lang}" for part in ("train", "dev") for lang in ("en", "it", "ru")]
WITHOUT_CODES = ["tokens.codes=null", "objectives.s2c=null", "model.writer.joined=null", "objectives.msp=null", "model.phone_head=null",
                 "phases=[{name: all, share: 1.0, levels: [{objectives: [s2t, pp, p2t]}]}]"]  # fmt: skip


def folders(data: Path) -> list[Path]:
    """Sets of one utterance."""
    for name in NAMES:
        (data / name).mkdir(parents=True)
        (data / name / "text").write_text("a hm\n", encoding="utf-8")
        (data / name / "utt2lang").write_text(f"a {name[-2:]}\n")
    return [data / name for name in NAMES]


def test_the_sets_from_which_a_text_is_read() -> None:
    config = load_config(TrainConfig, MINI)
    assert set(sets_with("text.phones", config)) == set(NAMES)
    assert set(sets_with("text.codes", config)) == {name for name in NAMES if name.startswith("train")}  # the stream has no dev sets
    assert sets_with("text.en", config) == []


def test_phones_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = folders(tmp_path)
    supervised = ["--config", str(MINI.with_name("train_supervised.yaml")), "--data", str(tmp_path)]
    assert main(supervised) == 0 and not any((folder / "text.phones").exists() for folder in plain)
    assert main(["--config", str(MINI), "--set", *WITHOUT_CODES, "--data", str(tmp_path)]) == 0
    assert all(read_table(folder / "text.phones") == {"a": "h m"} for folder in plain)
    assert capsys.readouterr().out.count("text.phones: written, 1 utterances") == len(plain)


def test_codes_need_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path)
    with pytest.raises(UserError, match="it reads text.codes, clusters of the states of a trained run; give run.sh the config of this run"):
        main(["--config", str(MINI), "--data", str(tmp_path)])
    asked: list[list[str]] = []
    monkeypatch.setattr(codes, "main", asked.append)
    run = ["--codes_exp", "exp/cpc", "--tap", "block2", "--clusters", "7", "--dump", "features"]
    assert main(["--config", str(MINI), "--data", str(tmp_path), *run]) == 0
    train = [str(tmp_path / name) for name in NAMES if name.startswith("train")]
    options = ["--exp", "exp/cpc", "--dump", "features", "--tap", "block2", "--clusters", "7"]
    assert asked == [[*train, *options, "--train_sets", *train]]
