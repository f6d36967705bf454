"""How many steps a budget of audio will take is told before the first one, as schedules need it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from m2asr.bin import fbank
from m2asr.config import check_config
from m2asr.data.feats import StoredFeats
from m2asr.data.index import UtteranceIndex
from m2asr.data.sources import Source
from m2asr.objectives.build import resolve
from m2asr.train.materials import gather
from m2asr.train.phase import longest
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT
from tests.data.sets import write_set
from tests.train import recipe

SPEEDS = [0.9, 1.0, 1.1]


def trainer_of(exp: Path, data: Path, dump: Path, shift: float, source: str, speeds: list[float]) -> Trainer:
    """A small training on the recordings of train_en, whose features are made here."""
    config = copy.deepcopy(recipe.CONFIG)
    config["model"] = {"encoder": {**config["model"]["encoder"], "dim": 16, "subsampling": "windows"}, "specaugment": None}
    config["optim"] = {"type": "adamw"}
    config["streams"] = {"en": {"sets": ["train_en"], "lang": "en", "speeds": speeds}}
    config["features"] = {"source": source}
    config["objectives"] = {"asr_en": config["objectives"]["asr_en"]}
    del config["penalty"]
    config["tokens"] = {"en": config["tokens"]["en"]}
    config["weighting"] = {"type": "static"}
    config["batching"] = {"seconds": 12}
    config["train"] |= {"epochs": None, "hours": 0.45, "workers": 0, "save_every": None, "average_best": 1}
    path = recipe.prepare(exp, data, config)
    options = ["--config", str(ROOT / "egs/mini/conf/fbank.yaml"), "--set", f"frame_shift={shift}", "--nj", "1", "--keep"]
    assert fbank.main([*options, "--data", str(data), "--dump", str(dump), "--train_config", str(path)]) == 0
    resolved = resolve(check_config(TrainConfig, config, "test"))
    return Trainer(resolved, gather(resolved, data, dump, exp), exp)


@pytest.mark.parametrize(("shift", "source", "speeds"), [(10.0, "dump", SPEEDS), (12.5, "audio", SPEEDS)], ids=["dump", "audio"])
def test_the_steps_told_are_the_steps_done(mini_data: Path, tmp_path: Path, shift: float, source: str, speeds: list[float]) -> None:
    trainer = trainer_of(tmp_path / "exp", mini_data, tmp_path / "dump", shift, source, speeds)
    told = trainer.total_steps
    trainer.run()
    assert trainer.number > 100 and told == pytest.approx(trainer.number, rel=0.02)


def test_the_longest_stream_is_the_longest_at_the_mean_of_its_speeds(tmp_path: Path) -> None:
    streams = {"played": ([100] * 10, SPEEDS), "plain": ([105] * 10, [1.0])}
    sources = {
        name: Source(name, [UtteranceIndex(*write_set(tmp_path, name, frames))], feats=StoredFeats(speeds))
        for name, (frames, speeds) in streams.items()
    }
    assert longest(sources, list(sources)) == "plain"
