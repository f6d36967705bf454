"""Training on batches in which no objective has a target: nothing moves, and it is told once."""

from __future__ import annotations

import copy
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


@pytest.fixture
def wordy(mini_data: Path, tmp_path: Path) -> Path:
    """Data whose training texts are too long for CTC, the development set as it is."""
    data = tmp_path / "data"
    for name in ("train_en", "dev_en"):
        shutil.copytree(mini_data / name, data / name)
    path = data / "train_en/text"
    lines = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(f"{key} {' '.join([words] * 50)}\n" for key, words in lines), encoding="utf-8")
    return data


def test_steps_without_any_target_move_nothing(wordy: Path, mini_dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exp, config = tmp_path / "exp", copy.deepcopy(recipe.CONFIG)
    config["objectives"] = {"asr_en": config["objectives"]["asr_en"]}
    del config["penalty"], config["streams"]["raw"], config["tokens"]["it"]
    config["weighting"] = {"type": "static"}
    config["train"] |= {"workers": 0}
    path = recipe.prepare(exp, wordy, config)
    told = []
    for epochs in (1, 2):  # the second goes on from the first
        resolved = resolve(load_config(TrainConfig, path, [f"train.epochs={epochs}", "batching.seconds=400"]))
        trainer = Trainer(resolved, gather(resolved, wordy, mini_dump, exp), exp)
        before = copy.deepcopy(trainer.system.state_dict())
        assert trainer.resume() == (epochs == 2)
        trainer.run()
        for key, value in trainer.system.state_dict().items():
            assert torch.equal(value, before[key]), key
        told.append(capsys.readouterr().err.count("changes nothing"))
        facts = trainer.facts()
        assert facts["idle"] == facts["steps"] >= 2 * epochs and facts["skipped"] == 0
    assert told == [1, 0]
