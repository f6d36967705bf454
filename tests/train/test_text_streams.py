"""Streams of text alone: no audio, no features; they count for seconds by a rate, alone, beside speech, and in phases of their own."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch

from m2asr.config import check_config
from m2asr.data.index import UtteranceIndex
from m2asr.data.validate import validate
from m2asr.errors import UserError
from m2asr.objectives.build import resolve
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.train import recipe

READS = {"input": "it", "embed": "letters", "start": 1}
WRITES = {"tokens": "en_cased", "text": "text.en", "decoder": "writer"}
TRANSLATE = {"type": "attention", "stream": "texts", **WRITES, "decode": False, "view": READS}


@pytest.fixture(scope="module")
def data(mini_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directories of the corpus, with the texts of train_it and dev_it as text sets: Italian with its English."""
    folder = tmp_path_factory.mktemp("texts") / "data"
    folder.mkdir()
    for source in mini_data.iterdir():
        (folder / source.name).symlink_to(source)
    for part in ("train", "dev"):
        (folder / f"{part}_texts").mkdir()
        for name in ("text", "text.en", "utt2lang"):
            shutil.copy(mini_data / f"{part}_it" / name, folder / f"{part}_texts" / name)
    return folder


def trainer(
    data: Path, dump: Path, exp: Path, phases: list[dict] | None = None, hours: float = 0.1, rate: float = 15, **objectives: dict
) -> Trainer:
    config = copy.deepcopy(recipe.CONFIG)
    config["model"] |= {
        "letters": {"type": "embedding", "tokens": "it"},
        "writer": {"type": "transformer", "blocks": 1, "dim": 32, "heads": 2},
    }
    config["model"]["encoder"]["blocks"] = 2
    config["streams"] = {"texts": {"sets": ["train_texts"], "dev": ["dev_texts"]}, "en": config["streams"]["en"]}
    config["tokens"] = {
        "en": config["tokens"]["en"],
        "it": {"type": "char", "sets": ["train_texts"]},
        "en_cased": {"type": "char", "sets": ["train_texts"], "text": "text.en"},
    }
    config["objectives"] = {"t2t": TRANSLATE, **objectives}
    config["streams"] = {name: config["streams"][name] for name in dict.fromkeys(one["stream"] for one in config["objectives"].values())}
    config["tokens"] = {name: section for name, section in config["tokens"].items() if name != "en" or "en" in config["streams"]}
    del config["penalty"]
    config |= {"batching": {"seconds": 60, "tokens_per_second": rate}, "phases": phases or []}
    del config["weighting"]
    config["train"] |= {"epochs": None, "hours": hours, "workers": 0, "epoch_of": None, "save_every": None, "select": "last"}
    if not exp.exists():
        recipe.prepare(exp, data, config)
    resolved = resolve(check_config(TrainConfig, config, "test"))
    return Trainer(resolved, gather(resolved, data, dump, exp), exp)


ASR = {"type": "ctc", "stream": "en", "tokens": "en"}


def test_a_text_set_is_a_data_directory_without_recordings(data: Path) -> None:
    report = validate(data / "train_texts")
    assert report.utterances > 300 and not report.problems
    spoilt = shutil.copytree(data / "dev_texts", data.parent / "spoilt")
    (spoilt / "utt2lang").unlink()
    assert "utt2lang" in {Path(problem.file).name for problems in validate(spoilt).problems.values() for problem in problems}
    with pytest.raises(UserError, match="utt2lang: this file is missing; make it with stage data"):
        UtteranceIndex(spoilt)


def test_text_alone_trains_without_features(data: Path, tmp_path: Path) -> None:
    """No dump, no CMVN; the budget of audio counts 15 tokens as a second."""
    made = trainer(data, tmp_path / "nowhere", tmp_path / "exp", hours=0.4)
    before = {name: value.clone() for name, value in made.system.state_dict().items()}
    told = made.total_steps
    made.run()
    assert made.number == pytest.approx(told, rel=0.05)
    assert 0.4 * 3600 <= made.audio_seconds < 1.1 * 0.4 * 3600
    after = made.system.state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"encoder", "letters", "writer"}
    assert torch.equal(before["encoder.blocks.0.norm.weight"], after["encoder.blocks.0.norm.weight"])  # it is entered behind that block
    lines = [json.loads(line) for line in (tmp_path / "exp/train.jsonl").read_text().splitlines()]
    losses = [line["loss"]["t2t"] for line in lines if line["kind"] == "train"]
    assert losses[-1] < losses[0] and "error" in lines[-1]["metrics"]["t2t"]


def test_the_rate_says_how_many_tokens_count_for_a_second(data: Path, tmp_path: Path) -> None:
    """At twice the rate an epoch counts for half the seconds, and takes fewer steps."""
    usual, faster = (trainer(data, tmp_path / "nowhere", tmp_path / f"exp{rate}", rate=rate).phases[0] for rate in (15, 30))
    assert faster.loader.steps_per_epoch() < 0.7 * usual.loader.steps_per_epoch()
    seconds = [phase.seconds_per_step() * phase.loader.steps_per_epoch() for phase in (usual, faster)]
    assert seconds[1] == pytest.approx(seconds[0] / 2)
    faster.start()
    step = faster.next_step()
    tokens = int(step.draws()[0]["texts"][0].lengths["it:text"].sum())
    assert faster.gradients(step.draws(), 0.0, 0).seconds == pytest.approx(tokens / 30)
    faster.stop()


def test_texts_have_no_speeds(data: Path, tmp_path: Path) -> None:
    config = copy.deepcopy(recipe.CONFIG)
    config["model"] |= {"letters": {"type": "embedding", "tokens": "it"}, "writer": "transformer"}
    config["streams"]["texts"] = {"sets": ["train_texts"], "speeds": [0.9, 1.0]}
    config["objectives"]["t2t"] = {**TRANSLATE, "tokens": "it"}
    with pytest.raises(UserError, match=r"streams.texts.speeds: not used, since its objectives read only tokens"):
        check_config(TrainConfig, config, "test")


def test_text_beside_speech_in_one_step(data: Path, mini_dump: Path, tmp_path: Path) -> None:
    made = trainer(data, mini_dump, tmp_path / "exp", asr_en=ASR)
    phase = made.phases[0]
    phase.start()
    step = phase.next_step()
    assert {name: set(draws[0][0].inputs) for name, draws in step.batches.items()} == {"texts": {"it:text"}, "en": {"feats"}}
    seconds = {name: draws[0][0].seconds for name, draws in step.batches.items()}
    assert all(15 < value <= 31 for value in seconds.values())  # of 60 s, half to each
    outcome = phase.gradients(step.draws(), 0.0, 0)
    assert outcome.seconds == pytest.approx(sum(seconds.values())) and set(outcome.losses) == {"t2t", "asr_en"}
    phase.stop()


def test_a_phase_of_text_before_one_of_speech(data: Path, mini_dump: Path, tmp_path: Path) -> None:
    phases = [{"name": name, "share": 0.5, "levels": [{"objectives": [one]}]} for name, one in (("text", "t2t"), ("speech", "asr_en"))]
    made = trainer(data, mini_dump, tmp_path / "exp", phases, hours=0.2, asr_en=ASR)
    made.run()
    assert [span.audio_seconds for span in made.spans] == pytest.approx([360, 360], abs=60)
    lines = [json.loads(line) for line in (tmp_path / "exp/train.jsonl").read_text().splitlines()]
    assert {line["phase"]: set(line["loss"]) for line in lines if line["kind"] == "train"} == {"text": {"t2t"}, "speech": {"asr_en"}}
