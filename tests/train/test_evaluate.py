"""The development sets: what they take, and what chooses the best epochs."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
import torch

from m2asr.config import check_config
from m2asr.objectives.build import resolve
from m2asr.objectives.system import System
from m2asr.train.evaluate import evaluate, selection_score
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.objectives import build
from tests.train import recipe


def test_what_cannot_be_written_does_not_raise_the_score():
    """Two dev sets, one with a reference too long for its audio: its tokens count, so leaving it out would look better."""
    system, long = build.system(), [1, 2] * 6
    batches = {"x": [build.batch([120, 40], {"a:text": [[2, 3], long]})]}
    losses, metrics = evaluate(system, batches, {"asr_x": "x"}, torch.float32)
    errors, count = build.dev_error(system, batches["x"][0], "asr_x")
    assert count == 14
    assert metrics["asr_x"]["error"] == errors / 14 == selection_score(losses, metrics, ["asr_x"], "dev")


def test_objectives_without_a_target_in_the_dev_sets_do_not_choose():
    system = build.system()
    batches = {"x": [build.batch([120, 90], {"a:text": [[2, 3], [4]]})], "y": [build.batch([80], {"b:text": [None], "a:text.x": [[2]]})]}
    losses, metrics = evaluate(system, batches, {"asr_x": "x", "asr_y": "y"}, torch.float32)
    assert math.isnan(metrics["asr_y"]["error"])
    for how, values in (("dev", metrics["asr_x"]["error"]), ("loss", losses["asr_x"])):
        assert selection_score(losses, metrics, ["asr_x", "asr_y"], how) == values


def small_trainer(exp: Path, data: Path, dump: Path, train: dict, decode: tuple[str, ...] = ("asr_en", "st_en_it")) -> Trainer:
    """Of the recipe's config, with other options of `train`, and of the recognizing objectives these for decoding."""
    changed = copy.deepcopy(recipe.CONFIG)
    changed["train"] |= {"epochs": None, "hours": 0.05, "workers": 0, **train}
    config = resolve(check_config(TrainConfig, changed, "test"))
    for name in ("asr_en", "st_en_it"):
        config.objectives[name].decode = name in decode
    return Trainer(config, gather(config, data, dump, exp), exp)


@pytest.mark.parametrize(
    ("select", "decode", "chosen"),
    [
        ("dev", ("asr_en", "st_en_it"), ["asr_en", "st_en_it"]),
        ("dev", ("asr_en",), ["asr_en"]),
        ("dev", (), ["asr_en", "st_en_it"]),
        (["st_en_it"], ("asr_en", "st_en_it"), ["st_en_it"]),
    ],
)
def test_epochs_are_chosen_by_the_objectives_named(
    mini_data: Path, mini_dump: Path, exp: Path, select: str | list[str], decode: tuple[str, ...], chosen: list[str]
) -> None:
    """Where none decodes, as in pretraining, all of the first level."""
    trainer = small_trainer(exp, mini_data, mini_dump, {"select": select}, decode)
    trainer.run()
    lines = [json.loads(line) for line in (exp / "train.jsonl").read_text().splitlines()]
    (dev,) = [line for line in lines if line["kind"] == "dev"]
    errors = [dev["metrics"][name]["error"] for name in chosen]
    assert dev["select"] == pytest.approx(sum(errors) / len(errors)) and len({*errors, *dev["loss"].values()}) == len(errors) + 3
    assert trainer.best.scores == {1: dev["select"]}


def test_dev_batches_are_no_larger_than_those_of_training(mini_data: Path, mini_dump: Path, exp: Path, monkeypatch) -> None:
    """Of 240 s per step a stream gets 120, in 2 micro-batches of 60 s for `raw`, in 2 draws of them for `en`."""
    sizes: dict[bool, list[float]] = {True: [], False: []}  # of the batches encoded in training, and on the dev sets
    encode = System.encode

    def watched(self: System, batch, view, taps):
        sizes[self.training].append(batch.frame_shift * batch.inputs["feats"].shape[:2].numel())
        return encode(self, batch, view, taps)

    monkeypatch.setattr(System, "encode", watched)
    small_trainer(exp, mini_data, mini_dump, {"accumulation": 2}).run()
    assert 50 < max(sizes[True]) <= 60 and 50 < max(sizes[False]) <= 60
