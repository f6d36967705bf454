"""A run with experts: what its log holds, a resume, and the report on the trained system."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch

from m2asr.bin import experts
from m2asr.config import load_config
from m2asr.errors import UserError
from m2asr.objectives.build import resolve
from m2asr.report.plots import draw
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.train import recipe

CONFIG = copy.deepcopy(recipe.CONFIG) | {"weighting": {"type": "mgda"}, "penalty": None}
NETWORK = copy.deepcopy(CONFIG["model"]["encoder"]) | {"blocks": 1}
CONFIG["model"]["encoder"] |= {"experts": {"count": 4, "embedding": "sounds", "scale": "straight"}}
CONFIG["model"] |= {"sounds": NETWORK, "specaugment": None}
CTC = {"type": "ctc", "stream": "en", "tokens": "en"}
CONFIG["objectives"] = {
    "asr_en": CTC,
    "middle": {**CTC, "tap": "block1", "decode": False},
    "sounds_ctc": {**CTC, "tap": "sounds", "role": "regular", "weight": 0.01, "decode": False},
    "balance": {"type": "balance", "stream": "en", "role": "regular"},
}
CONFIG["streams"] = {"en": CONFIG["streams"]["en"]}
CONFIG["tokens"] = {"en": CONFIG["tokens"]["en"]}
CONFIG["batching"] = {"seconds": 120, "buckets": 4}
CONFIG["train"] |= {"workers": 0, "log_every": 1, "epochs": None, "hours": 0.2, "average_best": 1, "epoch_of": None}


@pytest.fixture(scope="module")
def whole(mini_data: Path, mini_dump: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer]:
    """A run from the beginning to the end."""
    exp = tmp_path_factory.mktemp("experts") / "exp"
    recipe.prepare(exp, mini_data, CONFIG)
    shutil.copytree(exp, exp.parent / "given")
    run = trainer(exp, mini_data, mini_dump)
    run.run()
    return exp, run


def trainer(exp: Path, data: Path, dump: Path, *overrides: str) -> Trainer:
    config = resolve(load_config(TrainConfig, exp / "given.yaml", list(overrides)))
    return Trainer(config, gather(config, data, dump, exp), exp)


def test_the_log_holds_the_load_of_every_expert(whole):
    exp, run = whole
    lines = [json.loads(line) for line in (exp / "train.jsonl").read_text().splitlines()]
    assert len([line for line in lines if line["kind"] == "train"]) == run.number >= 4
    blocks = len(run.system.encoder.blocks)
    for line in lines:
        metrics = line["metrics"]["balance"]
        for number in range(1, blocks + 1):
            assert len(metrics[f"load_router{number}"]) == 4 and sum(metrics[f"load_router{number}"]) == pytest.approx(1)
            assert 0 < metrics[f"entropy_router{number}"] <= 1.39
    assert "experts.png" in [path.name for path in draw(exp)]


def test_a_stopped_run_ends_as_one_that_was_not_stopped(whole, mini_data, mini_dump, tmp_path, monkeypatch):
    exp, run = whole
    shutil.copytree(exp.parent / "given", tmp_path / "exp")
    stopped = trainer(tmp_path / "exp", mini_data, mini_dump)
    monkeypatch.setattr(stopped, "_train", lambda log: stopped.number == 3 and pytest.fail() or Trainer._train(stopped, log))
    with pytest.raises(pytest.fail.Exception):
        stopped.run()
    again = trainer(tmp_path / "exp", mini_data, mini_dump)
    assert again.resume() and 0 < again.number < run.number
    again.run()
    for key, value in run.system.state_dict().items():
        assert torch.equal(value, again.system.state_dict()[key]), key


def test_the_report_on_a_trained_system(whole, mini_data, mini_dump, capsys):
    exp, run = whole
    assert experts.main([str(exp), "--data", str(mini_data), "--dump", str(mini_dump)]) == 0
    assert "| router1 |" in capsys.readouterr().out
    written = json.loads((exp / "experts/experts.json").read_text())
    assert set(written) == {f"router{number}" for number in range(1, len(run.system.encoder.blocks) + 1)}
    assert set(written["router1"]) == {"en"} and sum(written["router1"]["en"]["shares"]) == pytest.approx(1, abs=1e-5)
    assert (exp / "experts/experts.png").is_file()
    with pytest.raises(UserError, match="nowhere: no such data directory"):
        experts.main([str(exp), "--sets", "nowhere", "--data", str(mini_data), "--dump", str(mini_dump)])


def test_a_router_that_is_not_finite_stops_the_run_with_its_reason(whole, mini_data, mini_dump, tmp_path, capsys):
    """As any loss that is not finite: steps are skipped, and then the run stops."""
    exp, _ = whole
    shutil.copytree(exp.parent / "given", tmp_path / "exp")
    run = trainer(tmp_path / "exp", mini_data, mini_dump, "train.max_skipped=1")
    with torch.no_grad():
        run.system.encoder.blocks[0].feed_forward2.router.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"stopped after 2 skipped steps .*the loss of asr_en is nan"):
        run.run()
