"""Experts spread over processes: a run of two learns what one does, and its checkpoints hold all experts."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from m2asr.config import load_config
from m2asr.errors import UserError
from m2asr.moo.collectives import Collectives
from m2asr.objectives.build import resolve
from m2asr.train.expert_parallel import spread_experts
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT
from tests.objectives import build
from tests.objectives.test_balance import NETWORK, system
from tests.train import recipe
from tests.train.test_experts import CONFIG

SPREAD = copy.deepcopy(CONFIG) | {"weighting": {"type": "static"}}
SPREAD["train"] |= {"expert_parallel": True, "epochs": 1, "hours": None, "precision": "float32", "accumulation": 2, "save_every": 1}
SPREAD["batching"] = {"seconds": 400}


@pytest.fixture(scope="module")
def given(mini_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("spread") / "exp"
    recipe.prepare(exp, mini_data, SPREAD)
    return exp


def trainer(exp: Path, data: Path, dump: Path, *overrides: str) -> Trainer:
    config = resolve(load_config(TrainConfig, exp / "given.yaml", list(overrides)))
    torch.set_num_threads(1)
    return Trainer(config, gather(config, data, dump, exp), exp)


def losses(exp: Path) -> list[dict]:
    return [json.loads(line)["loss"] for line in (exp / "train.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_with_half_of_the_experts_learn_what_one_learns(given, mini_data, mini_dump, tmp_path):
    single, spread = tmp_path / "single", tmp_path / "spread"
    for exp in (single, spread):
        shutil.copytree(given, exp)
    alone = trainer(single, mini_data, mini_dump)
    alone.run()
    line = recipe.train_command(spread, spread / "given.yaml", mini_data, mini_dump, "--set", "train.epochs=1")
    done = subprocess.run([*line, "--nproc", "2"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert alone.describe().splitlines()[0] in done.stdout  # the parameters of all processes
    ours, theirs = losses(single), losses(spread)
    assert len(ours) == len(theirs) >= 3
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=0.01)
    checkpoint = torch.load(spread / "checkpoints/last.pt", weights_only=True)
    name = "encoder.blocks.0.feed_forward2.wide.weight"
    assert checkpoint["model"][name].shape == alone.system.get_parameter(name).shape
    (phase,) = checkpoint["span"]["phases"].values()
    assert all(value.shape == checkpoint["model"][name].shape for value in phase["optimizer"][name].values() if value.dim())
    longer = trainer(spread, mini_data, mini_dump, "train.epochs=2")
    assert longer.resume() and longer.number == checkpoint["number"]
    longer.run()
    assert losses(spread)[-1]["asr_en"] < theirs[-1]["asr_en"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["weighting={type: mgda}"], "train.expert_parallel: weighting mgda compares gradients of whole models"),
        (["train.conflicts=true"], "train.expert_parallel: train.conflicts compares gradients of whole models; set it to false"),
    ],
)
def test_gradients_that_are_kept_apart_are_refused(given, mini_data, mini_dump, tmp_path, changes, told):
    exp = tmp_path / "exp"
    shutil.copytree(given, exp)
    with pytest.raises(UserError, match=told):
        trainer(exp, mini_data, mini_dump, *changes)


def test_parts_count_as_what_they_are_parts_of():
    class Two(Collectives):
        world = 2

    made = system({"count": 4, "embedding": "sounds"}, sounds=NETWORK)
    whole = made.sizes(1)
    spread_experts(made, Two())
    assert made.sizes(2) == whole and sum(param.numel() for param in made.parameters()) < 0.9 * sum(whole.values())


def test_numbers_that_cannot_be_shared_are_refused():
    class Three(Collectives):
        world = 3

    with pytest.raises(UserError, match=r"4 experts cannot be shared by 3 processes equally"):
        spread_experts(system({"count": 4, "embedding": "sounds"}, sounds=NETWORK), Three())
    with pytest.raises(UserError, match="the encoder has no experts"):
        spread_experts(build.system(), Three())
