"""Levels and phases in a config: short forms, lengths, and one clear line for what does not go together."""

from __future__ import annotations

from typing import Any

import pytest

from m2asr.config import check_config
from m2asr.errors import UserError
from m2asr.train_config import Phase, TrainConfig, changed_keys

DATA = {
    "model": {"encoder": "conformer"},
    "streams": {"en": {"sets": ["train_en"]}},
    "objectives": {name: {"type": "ctc", "stream": "en"} for name in ("asr", "st", "cpc")},
}
UPPER, LOWER = {"objectives": ["asr", "st"]}, {"objectives": ["cpc"], "penalty": {"end": 0.5}}


def config(**changes: Any) -> TrainConfig:
    return check_config(TrainConfig, {**DATA, **changes}, "conf.yaml")


def levels_of(made: TrainConfig, phase: int = 0) -> list[list[str]]:
    return [level.objectives for level in made.levels_of(made.phase_list()[phase])]


def test_without_levels_all_objectives_stand_on_one() -> None:
    made = config()
    assert levels_of(made) == [["asr", "st", "cpc"]]
    assert made.levels_of(made.phase_list()[0])[0].weighting.type == "static"


def test_the_short_form_is_two_levels() -> None:
    objectives = {**DATA["objectives"], "cpc": {**DATA["objectives"]["cpc"], "level": "lower"}}
    short = config(objectives=objectives, weighting="modo", penalty={"end": 0.5})
    long = config(levels=[{**UPPER, "weighting": "modo"}, LOWER])
    assert levels_of(short) == levels_of(long) == [["asr", "st"], ["cpc"]]
    assert short.levels_of(Phase(name="x")) == long.levels_of(Phase(name="x"))


@pytest.mark.parametrize("made", [config(), config(levels=[UPPER, LOWER]), config(phases=[{"name": "a", "levels": [UPPER, LOWER]}])])
def test_what_was_resolved_can_be_read_again(made: TrainConfig) -> None:
    assert check_config(TrainConfig, made.model_dump(mode="json"), "again") == made


def test_options_of_muon_need_muon_somewhere() -> None:
    with pytest.raises(UserError, match=r"optim.muon: not read under `type: adamw`"):
        config(optim={"muon": {"rate": 2.0}})
    with pytest.raises(UserError, match=r"optim.muon: not read"):
        config(phases=[{"name": "a", "optim": {"muon": {"rate": 2.0}}}])
    made = config(optim={"muon": {"rate": 2.0}}, phases=[{"name": "a", "optim": {"type": "muon"}}])
    assert made.phases[0].optim.muon.rate == 2.0


def test_phases_inherit_the_optimizer() -> None:
    made = config(optim={"clip": 1.0, "lr": {"heads": 0.1}}, phases=[{"name": "a", "optim": {"lr": {"backbone": 1.0e-5}}}])
    optim = made.phases[0].optim
    assert (optim.clip, optim.lr.heads, optim.lr.backbone) == (1.0, 0.1, 1.0e-5)


def test_lengths_of_phases() -> None:
    one, two = {"name": "a", "levels": [UPPER, LOWER]}, {"name": "b", "levels": [{"objectives": ["asr"]}]}
    assert config(phases=[{**one, "epochs": 3}, {**two, "epochs": 2}]).train.epochs == 5
    made = config(phases=[{**one, "share": 0.75}, {**two, "share": 0.25}], train={"hours": 3.0})
    assert [phase.share for phase in made.phases] == [0.75, 0.25] and made.train.epochs is None
    assert config(phases=[one]).phases[0].share == 1.0


def phase(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "levels": [UPPER, LOWER], **more}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"levels": [UPPER, {"objectives": ["cpc"]}]}, ["levels.1.penalty", "missing"]),
        ({"levels": [{**UPPER, "penalty": {}}, LOWER]}, ["levels.0.penalty", "first level"]),
        ({"levels": [UPPER, {**LOWER, "objectives": ["cpc", "asr"]}]}, ["levels.1.objectives", "asr", "twice"]),
        ({"levels": [UPPER, {**LOWER, "objectives": ["cpd"]}]}, ["levels.1.objectives", "did you mean `cpc`"]),
        ({"levels": [{"objectives": []}, LOWER]}, ["levels.0.objectives"]),
        ({"levels": [UPPER]}, ["objectives.cpc", "no level trains it"]),
        ({"levels": [UPPER, LOWER], "penalty": {"end": 0.1}}, ["penalty", "levels"]),
        ({"penalty": {"end": 0.1}}, ["penalty", "no objective has `level: lower`"]),
        ({"levels": [UPPER, {**LOWER, "penalty": {"end": 0.2, "max": 0.1}}]}, ["penalty", "max", "not read beside `end`"]),
        ({"levels": [UPPER, {**LOWER, "penalty": {"growth": 0.1, "over": 0.5}}]}, ["penalty", "over", "not read beside `growth`"]),
        ({"batching": {"shares": {"en": 0.0}}}, ["batching.shares.en", "greater than 0"]),
        ({"levels": [UPPER, LOWER], "weighting": "mgda"}, ["weighting", "levels"]),
        ({"phases": [phase(level=[])]}, ["phases.0.level", "`levels`"]),
        ({"phases": [phase(epochs=1), phase("a", epochs=1)]}, ["phases", "`a`"]),
        ({"phases": [phase("a b")]}, ["phases", "`a b`"]),
        ({"phases": [phase(every="epoch", epochs=1)]}, ["phases.a.every", "there is none"]),
        ({"phases": [phase(every="epoch", share=0.5), phase("b")]}, ["phases.a.share", "epochs"]),
        ({"phases": [phase(epochs=1), phase("b", share=0.5)]}, ["phases", "lengths"]),
        ({"phases": [phase(share=0.5), phase("b", share=0.6)]}, ["phases", "sum to 1", "1.1"]),
        ({"phases": [phase(epochs=1, share=0.5)]}, ["phases.a", "either epochs or share"]),
        ({"phases": [phase(), phase("b")]}, ["phases.a", "either epochs or share"]),
        ({"phases": [phase(epochs=2)], "train": {"hours": 1.0}}, ["train", "hours"]),
        ({"phases": [phase(epochs=2)], "train": {"epochs": 3}}, ["train", "epochs"]),
        ({"phases": [phase(epoch_of="fr")]}, ["phases.a.epoch_of", "`fr`"]),
        ({"phases": [phase(init={"map": {}})]}, ["phases.0.init.from", "missing"]),
    ],
)
def test_what_does_not_go_together_is_one_line(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        config(**changes)
    text = str(caught.value)
    assert text.startswith("conf.yaml: ") and "\n" not in text
    assert all(word in text for word in words), text


def test_changed_keys_are_dotted_names():
    old = {
        "model": {"encoder": {"blocks": 4, "dim": 64}, "specaugment": None},
        "train": {"epochs": 5, "seed": 1, "workers": 1},
        "streams": {"en": {"sets": ["a"]}},
    }
    new = {
        "model": {"encoder": {"blocks": 6, "dim": 64}, "specaugment": None},
        "train": {"epochs": 9, "seed": 1, "workers": 4},
        "streams": {"en": {"sets": ["a", "b"]}},
    }
    assert changed_keys(old, old) == []
    assert changed_keys(old, new) == ["model.encoder.blocks", "streams.en.sets", "train.epochs"]
    assert changed_keys(old, new, {"train.epochs", "streams.en.sets"}) == ["model.encoder.blocks"]
    assert changed_keys(old, {**old, "penalty": {"end": 0.2}}) == ["penalty.end"]
