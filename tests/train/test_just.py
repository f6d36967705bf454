"""Contrastive learning and masked language modelling in a run: its codes, its warning, and the temperature after a resume."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch

from m2asr.config import load_config
from m2asr.objectives.build import resolve
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.train import recipe

VIEW = {"mask": {"probability": 0.065, "length": 10}}
CONFIG = copy.deepcopy(recipe.CONFIG) | {"weighting": {"type": "static"}, "tokens": {"en": recipe.CONFIG["tokens"]["en"]}}
CONFIG["model"] |= {
    "codes": {"type": "gumbel_quantizer", "groups": 1, "entries": 64, "width": 32, "decay": 0.9},
    "specaugment": None,
}
CONFIG["objectives"] = {
    "asr_en": {"type": "ctc", "stream": "en", "tokens": "en"},
    "contrastive": {"type": "contrastive", "stream": "raw", "level": "lower", "quantizer": "codes", "view": VIEW},
    "mlm": {"type": "masked_lm", "stream": "raw", "level": "lower", "quantizer": "codes", "view": VIEW},
}
CONFIG["batching"] = {"seconds": 120, "buckets": 4}
CONFIG["train"] |= {"workers": 0, "log_every": 1, "epochs": None, "hours": 0.2, "average_best": 1}


@pytest.fixture(scope="module")
def given(mini_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config and the tokenizers of a run."""
    exp = tmp_path_factory.mktemp("just") / "exp"
    recipe.prepare(exp, mini_data, CONFIG)
    return exp


def trainer(exp: Path, given: Path, data: Path, dump: Path, *overrides: str) -> Trainer:
    if not exp.exists():
        shutil.copytree(given, exp)
    config = resolve(load_config(TrainConfig, exp / "given.yaml", list(overrides)))
    return Trainer(config, gather(config, data, dump, exp), exp)


def test_the_temperature_goes_on_after_a_resume(given, mini_data, mini_dump, tmp_path, monkeypatch):
    """A run that stops after a step without a checkpoint ends with the weights, and the steps, of one that does not stop."""
    whole = trainer(tmp_path / "whole", given, mini_data, mini_dump)
    whole.run()
    assert int(whole.system.codes.steps) == whole.number >= 5
    stopped = trainer(tmp_path / "stopped", given, mini_data, mini_dump)
    monkeypatch.setattr(stopped, "_train", lambda log: stopped.number == 3 and pytest.fail() or Trainer._train(stopped, log))
    with pytest.raises(pytest.fail.Exception):  # the last checkpoint is that of the second step
        stopped.run()
    again = trainer(tmp_path / "stopped", given, mini_data, mini_dump)
    assert again.resume() and int(again.system.codes.steps) == again.number == 2
    again.run()
    assert float(again.system.codes.temperature) == float(whole.system.codes.temperature) == max(0.5, 2 * 0.9**whole.number)
    for key, value in whole.system.state_dict().items():
        assert torch.equal(value, again.system.state_dict()[key]), key
    lines = [json.loads(line) for line in (tmp_path / "whole/train.jsonl").read_text().splitlines()]
    for line in lines:
        contrastive, mlm = (line["metrics"][name] for name in ("contrastive", "mlm"))
        assert contrastive["perplexity"] == mlm["perplexity"] > 1 and contrastive["accuracy"] > 0
        assert 0 < contrastive["chance"] < 0.2 and 0 < mlm["majority"] < 1
    assert {line["kind"] for line in lines} == {"train", "dev"}


def test_a_collapsed_codebook_is_told_once(given, mini_data, mini_dump, tmp_path, capsys):
    run = trainer(tmp_path / "exp", given, mini_data, mini_dump, "train.hours=0.05")
    with torch.no_grad():
        run.system.codes.logits.bias[3] = 1000.0
    run.run()
    errors = capsys.readouterr().err.splitlines()
    for name in ("contrastive", "mlm"):
        told = [line for line in errors if line.startswith(f"warning: {name}, steps up to 1: the codebook of codes has collapsed")]
        assert len(told) == 1 and told[0].endswith("the perplexity is 1.0 of 64; raise `diversity` or lower `optim.lr.ssl`")


def test_micro_batches_of_diversity_stay_whole(given, mini_data, mini_dump, tmp_path):
    """However many a step has."""
    for number, changes in enumerate((["train.accumulation=2"], ["train.accumulation=2", "objectives.contrastive.diversity=0.0"])):
        (phase,) = trainer(tmp_path / f"exp{number}", given, mini_data, mini_dump, *changes).phases
        assert bool(phase.loader.undivided) == (number == 0)
