"""Training on batches in which no objective has a target: nothing moves, and it is told once."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch

from m2asr.config import check_config, load_config
from m2asr.errors import UserError
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


def test_hours_that_would_never_pass_end_with_the_reason(wordy: Path, mini_dump: Path, tmp_path: Path) -> None:
    exp, config = tmp_path / "exp", copy.deepcopy(recipe.CONFIG)
    config["objectives"] = {"asr_en": config["objectives"]["asr_en"]}
    del config["penalty"], config["streams"]["raw"], config["tokens"]["it"], config["train"]["epochs"]
    config["weighting"] = {"type": "static"}
    config["train"] |= {"workers": 0, "hours": 0.02}
    resolved = resolve(load_config(TrainConfig, recipe.prepare(exp, wordy, config), ["batching.seconds=400"]))
    with pytest.raises(UserError, match="phase train: in a whole epoch no objective had a target, so train.hours would never pass"):
        Trainer(resolved, gather(resolved, wordy, mini_dump, exp), exp).run()


def test_a_step_in_which_only_a_regular_objective_has_a_target_is_not_idle(wordy: Path, mini_dump: Path, tmp_path: Path) -> None:
    exp, config = tmp_path / "exp", copy.deepcopy(recipe.CONFIG)
    config["objectives"] = {name: config["objectives"][name] for name in ("asr_en", "st_en_it")}
    config["objectives"]["st_en_it"] |= {"role": "regular", "weight": 0.5}
    del config["penalty"], config["streams"]["raw"]
    config["weighting"] = {"type": "static"}
    config["train"] |= {"workers": 0, "epochs": 1}
    resolved = resolve(load_config(TrainConfig, recipe.prepare(exp, wordy, config), ["batching.seconds=400"]))
    trainer = Trainer(resolved, gather(resolved, wordy, mini_dump, exp), exp)
    before = copy.deepcopy(trainer.system.state_dict())
    trainer.run()
    moved = {name.split(".")[0] for name, value in trainer.system.state_dict().items() if not torch.equal(value, before[name])}
    assert trainer.facts()["idle"] == 0 and moved == {"encoder", "objectives"}


def test_windows_longer_than_every_utterance_are_told(mini_data: Path, mini_dump: Path, tmp_path: Path) -> None:
    exp, config = tmp_path / "exp", copy.deepcopy(recipe.CONFIG)
    config["objectives"] = {"cpc": config["objectives"]["cpc"] | {"context": 50.0, "future": 20.0}}
    del config["objectives"]["cpc"]["level"], config["penalty"], config["streams"]["en"], config["train"]["epochs"]
    config["tokens"], config["weighting"] = {}, {"type": "static"}
    config["train"] |= {"workers": 0, "hours": 0.02, "epoch_of": "raw"}
    resolved = resolve(check_config(TrainConfig, config, "test"))
    with pytest.raises(UserError, match="phase train: none of its objectives encodes anything of its streams"):
        Trainer(resolved, gather(resolved, mini_data, mini_dump, exp), exp)
