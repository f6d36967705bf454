"""Runs of several phases: their order, lengths, weights and optimizers, and stopping anywhere in them."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import pytest
import torch

from m2asr.config import check_config
from m2asr.errors import UserError
from m2asr.moo.layout import padded_size
from m2asr.moo.plan import MERGED
from m2asr.objectives.build import resolve
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.train import recipe

RECOGNIZE = [{"objectives": ["asr_en"]}]
PREDICT = [{"objectives": ["cpc"]}]
JOINT = [{"objectives": ["asr_en"]}, {"objectives": ["cpc"], "penalty": {"growth": 0.25}}]


def make(phases: list[dict], exp: Path, mini_data: Path, mini_dump: Path, **train: object) -> Trainer:
    """A trainer in this process, with the tokenizers that are there."""
    data = json.loads(json.dumps(recipe.SMALL))
    for key in ("weighting", "penalty"):
        del data[key]
    del data["objectives"]["st_en_it"], data["objectives"]["cpc"]["level"], data["tokens"]["it"]
    data |= {"phases": phases, "batching": {"seconds": 125, "buckets": 2}}
    data["train"] = {**data["train"], "epochs": None, "workers": 0, "log_every": 2, "save_every": 1, **train}
    config = resolve(check_config(TrainConfig, data, "test"))
    return Trainer(config, gather(config, mini_data, mini_dump, exp), exp)


def lines(exp: Path, kind: str = "train") -> list[dict]:
    return [line for line in map(json.loads, (exp / "train.jsonl").read_text().splitlines()) if line["kind"] == kind]


def runs(values: list[str]) -> list[str]:
    """Without repetitions of neighbours."""
    return [value for place, value in enumerate(values) if place == 0 or values[place - 1] != value]


BLJUST = [
    {"name": "warmup", "epochs": 1, "levels": PREDICT},
    {"name": "explore", "every": "epoch", "epochs": 2, "levels": PREDICT},
    {"name": "joint", "epochs": 2, "levels": JOINT, "epoch_of": "en"},
    {"name": "finetune", "epochs": 1, "levels": RECOGNIZE, "optim": {"lr": {"backbone": 1.0e-5}}},
]


class Stopped(Exception):
    pass


def test_a_run_of_phases_stopped_anywhere_ends_the_same(exp, tokens, tmp_path, mini_data, mini_dump, monkeypatch):
    trainer = make(BLJUST, exp, mini_data, mini_dump)
    steps = {phase.name: phase.loader.steps_per_epoch() for phase in trainer.phases}
    trainer.run()
    # what the run did
    counts = {"warmup": steps["warmup"], "explore": 4 * steps["explore"], "joint": 2 * steps["joint"], "finetune": steps["finetune"]}
    assert {phase.name: phase.steps for phase in trainer.phases} == counts  # by these, not by steps of the run, weights are due
    assert trainer.number == steps["warmup"] + 2 * 2 * steps["explore"] + 2 * steps["joint"] + steps["finetune"] == trainer.total_steps
    log = lines(exp)
    assert runs([line["phase"] for line in log]) == ["warmup", "explore", "joint", "explore", "joint", "finetune"]
    assert [line["phase"] for line in lines(exp, "dev")] == ["warmup", "joint", "joint", "finetune"]
    gammas = runs([line["gamma"].get("cpc") for line in log if line["phase"] == "joint"])
    assert gammas == [0.0, 0.25]
    rates = {name: max(line["lr"]["backbone"] for line in log if line["phase"] == name) for name in steps}
    assert rates["finetune"] <= 1.0e-5 < 10 * rates["finetune"] < min(rates[name] for name in ("warmup", "explore", "joint"))
    assert all(("asr_en" in line["loss"]) == (line["phase"] in ("joint", "finetune")) for line in log)
    kept = torch.load(exp / "checkpoints/last.pt", weights_only=True)
    assert kept["best"].keys() == {"1"}  # of the last phase alone

    # the same run, stopped after every third step
    other = recipe.folder(tmp_path / "other", tokens)
    original = Trainer.save

    def save(self):
        original(self)
        if self.number % 3 == 0 and self.number > before:
            raise Stopped

    monkeypatch.setattr(Trainer, "save", save)
    before, stops = -1, 0
    while True:
        again = make(BLJUST, other, mini_data, mini_dump)
        before = again.number if again.resume() else -1
        try:
            again.run()
            break
        except Stopped:
            stops += 1
            before = again.number
    assert stops >= 4
    one, two = (torch.load(path / "model.pt", weights_only=True)["model"] for path in (exp, other))
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


def test_shares_of_a_budget(exp, mini_data, mini_dump):
    """Interleaved phases use up the budget of the phase they lead to."""
    phases = [{"name": "pretrain", "share": 0.25, "levels": PREDICT}]
    phases += [{"name": "explore", "every": "epoch", "levels": PREDICT}, {"name": "joint", "share": 0.75, "levels": JOINT}]
    trainer = make(phases, exp, mini_data, mini_dump, hours=0.0625)
    trainer.run()
    spent = [span.audio_seconds for span in trainer.spans]
    assert spent[0] == pytest.approx(0.25 * 225, abs=125) and spent[0] >= 0.25 * 225
    assert sum(spent) == pytest.approx(trainer.audio_seconds) and spent[1] >= 0.75 * 225
    assert {"explore", "joint"} <= {line["phase"] for line in lines(exp)}
    assert trainer.number == pytest.approx(trainer.total_steps, abs=4)


def test_a_run_may_become_longer_in_its_first_phase_alone(exp, mini_data, mini_dump, monkeypatch):
    phases = [{"name": name, "share": 0.5, "levels": levels} for name, levels in (("first", PREDICT), ("second", RECOGNIZE))]
    original = Trainer.save

    def save(self):
        original(self)
        raise Stopped

    monkeypatch.setattr(Trainer, "save", save)
    with pytest.raises(Stopped):
        make(phases, exp, mini_data, mini_dump, hours=0.25).run()
    trainer = make(phases, exp, mini_data, mini_dump, hours=0.0125)
    assert trainer.resume() and trainer.span_index == 0
    with pytest.raises(Stopped):  # in the second phase, the first has had its share
        trainer.run()
    assert trainer.span_index == 1
    with pytest.raises(UserError, match="its checkpoint was trained with other values of train.hours; restore them"):
        make(phases, exp, mini_data, mini_dump, hours=0.25).resume()
    assert make(phases, exp, mini_data, mini_dump, hours=0.0125, average_best=1).resume()


def test_a_phase_may_start_from_another_model(exp, tokens, tmp_path, mini_data, mini_dump, capsys):
    make([{"name": "first", "epochs": 1, "levels": JOINT}], exp, mini_data, mini_dump).run()
    given = torch.load(exp / "model.pt", weights_only=True)["model"]
    init = {"from": str(exp / "model.pt"), "map": {"objectives.": None}}
    phases = [{"name": "second", "epochs": 1, "levels": JOINT, "init": init}]
    trainer = make(phases, recipe.folder(tmp_path / "b", tokens), mini_data, mini_dump)
    own = {key: value.clone() for key, value in trainer.system.state_dict().items()}
    trainer._begin()
    for key, value in trainer.system.state_dict().items():
        assert torch.equal(value, given[key] if key.startswith("encoder.") else own[key]), key
    assert "phase second: started from" in capsys.readouterr().out
    section = {"name": "second", "epochs": 1, "levels": JOINT, "init": {"from": "nowhere.pt"}}
    with pytest.raises(UserError, match="phases.second.init.from: nowhere.pt: no such file"):  # before anything is trained
        make([section], tmp_path / "b", mini_data, mini_dump)
    trainer.phases[0].section.init[0].map = {"decoder.": "decoders."}
    with pytest.raises(UserError, match=r"no weight begins with `decoder.`; there are .*encoder.blocks"):
        trainer._begin()


def test_what_a_phase_held_is_given_back(exp, mini_data, mini_dump):
    trainer = make([{"name": "joint", "epochs": 1, "levels": [{**JOINT[0], "weighting": "moco"}, JOINT[1]]}], exp, mini_data, mini_dump)
    (phase,) = trainer.phases
    phase.start()
    row = weakref.ref(phase.joint.rows.row(MERGED).untyped_storage())
    phase.joint.rows.assign(MERGED)
    phase.stop()
    assert row() is None and all(param.grad is None for param in trainer.system.parameters())


def test_an_objective_that_never_has_a_target_is_told_once(exp, mini_data, mini_dump, monkeypatch, capsys):
    monkeypatch.setitem(recipe.SMALL["objectives"]["cpc"], "context", 60.0)  # longer than any utterance
    make([{"name": "joint", "epochs": 2, "levels": JOINT}], exp, mini_data, mini_dump).run()
    assert capsys.readouterr().err.count("warning: cpc: an epoch without a target") == 1


def test_a_phase_that_does_not_fit_stops_with_its_figure(exp, mini_data, mini_dump, monkeypatch):
    trainer = make([{"name": "joint", "epochs": 1, "levels": [{**JOINT[0], "weighting": "moco"}, JOINT[1]]}], exp, mini_data, mini_dump)
    assert "gradients: 3 of the shared modules" in trainer.describe()
    monkeypatch.setattr("m2asr.train.memory.free_bytes", lambda device: 1000)
    with pytest.raises(UserError, match="phase joint: 3 gradients of the backbone take .* 0.0 GB are free; take a weighting that keeps"):
        trainer.run()


SINGLE = [{"name": "joint", "share": 1.0, "levels": JOINT}]


@pytest.mark.parametrize(
    ("phases", "processes", "told"),
    [
        (SINGLE, 1, None),
        ([*BLJUST[:1], *BLJUST[2:]], 1, None),  # one after the other
        ([*BLJUST[:1], {**BLJUST[3], "levels": [{**RECOGNIZE[0], "weighting": "moco"}]}], 1, "phase finetune: 3 gradients"),
        (BLJUST, 1, "phases explore and joint: 2 gradients of the backbone take .* and the optimizers"),  # interleaved
        (SINGLE, 2, "in each of 2 processes, but"),
    ],
    ids=["single", "in turn", "last", "interleaved", "processes"],
)
def test_what_will_not_fit_is_told_before_the_first_step(exp, mini_data, mini_dump, monkeypatch, phases, processes, told):
    """Where there is memory for one gradient and one optimizer."""
    trainer = make(phases, exp, mini_data, mini_dump)
    trainer.group.local = processes
    params = sum(param.numel() for param in trainer.system.parameters())
    need = 4 * padded_size(list(trainer.system.encoder.parameters())) + 2 * 4 * params
    monkeypatch.setattr("m2asr.train.memory.free_bytes", lambda device: need)
    if told is None:
        trainer._begin()
        trainer.span.stop()
    else:
        with pytest.raises(UserError, match=told):
            trainer.run()
        assert trainer.number == 0


def test_levels_must_agree_on_their_draws(exp, mini_data, mini_dump):
    modo = [{**JOINT[0], "weighting": {"type": "modo", "samples": 3}}, {**JOINT[1], "weighting": "modo"}]
    with pytest.raises(UserError, match="phase joint: its weightings take 2 and 3 batches"):
        make([{"name": "joint", "epochs": 1, "levels": modo}], exp, mini_data, mini_dump)
