"""Levels and phases in a config: short forms, lengths, and one clear line for every contradiction."""

from __future__ import annotations

from typing import Any

import pytest

from m2asr.config import check_config
from m2asr.errors import UserError
from m2asr.train_checks import changed_keys
from m2asr.train_config import Phase, TrainConfig

DATA = {
    "model": {"encoder": "conformer"},
    "streams": {"en": {"sets": ["train_en"]}},
    "objectives": {name: {"type": "ctc", "stream": "en"} for name in ("asr", "st", "cpc")},
}
WRITER = {"model": {"encoder": "conformer", "writer": "transformer"}}
UPPER, LOWER = {"objectives": ["asr", "st"]}, {"objectives": ["cpc"], "penalty": {"end": 0.5}}


def config(**changes: Any) -> TrainConfig:
    return check_config(TrainConfig, {**DATA, **changes}, "conf.yaml")


def levels_of(resolved: TrainConfig, phase: int = 0) -> list[list[str]]:
    return [level.objectives for level in resolved.levels_of(resolved.phase_list()[phase])]


def test_without_levels_all_objectives_are_on_one_level() -> None:
    resolved = config()
    assert levels_of(resolved) == [["asr", "st", "cpc"]]
    assert resolved.levels_of(resolved.phase_list()[0])[0].weighting.type == "static"


def test_what_is_null_does_not_exist() -> None:
    resolved = config(objectives={**DATA["objectives"], "st": None}, streams={**DATA["streams"], "it": None}, tokens={"it": None})
    assert list(resolved.objectives) == ["asr", "cpc"] and list(resolved.streams) == ["en"] and not resolved.tokens
    with pytest.raises(UserError, match="streams"):
        config(streams={"en": None})


def test_a_regular_objective_needs_a_stream_that_a_level_reads() -> None:
    regular = {"type": "ctc", "stream": "it", "role": "regular"}
    streams = {**DATA["streams"], "it": {"sets": ["train_it"]}}
    with pytest.raises(UserError, match="objectives.extra: it is regular, and no objective on a level reads its stream it"):
        config(streams=streams, objectives={**DATA["objectives"], "extra": regular})


def test_the_short_form_is_two_levels() -> None:
    objectives = {**DATA["objectives"], "cpc": {**DATA["objectives"]["cpc"], "level": "lower"}}
    short = config(objectives=objectives, weighting="modo", penalty={"end": 0.5})
    long = config(levels=[{**UPPER, "weighting": "modo"}, LOWER])
    assert levels_of(short) == levels_of(long) == [["asr", "st"], ["cpc"]]
    assert short.levels_of(Phase(name="x")) == long.levels_of(Phase(name="x"))


@pytest.mark.parametrize("resolved", [config(), config(levels=[UPPER, LOWER]), config(phases=[{"name": "a", "levels": [UPPER, LOWER]}])])
def test_a_resolved_config_can_be_read_again(resolved: TrainConfig) -> None:
    assert check_config(TrainConfig, resolved.model_dump(mode="json"), "again") == resolved


def test_options_of_muon_need_muon_somewhere() -> None:
    with pytest.raises(UserError, match=r"optim.muon: not read under `type: adamw`"):
        config(optim={"muon": {"rate": 2.0}})
    with pytest.raises(UserError, match=r"optim.muon: not read"):
        config(phases=[{"name": "a", "optim": {"muon": {"rate": 2.0}}}])
    resolved = config(optim={"muon": {"rate": 2.0}}, phases=[{"name": "a", "optim": {"type": "muon"}}])
    assert resolved.phases[0].optim.muon.rate == 2.0


def regular(name: str, **options: Any) -> dict[str, Any]:
    """The objectives, one of them regular."""
    return {**DATA["objectives"], name: {"type": "ctc", "stream": "en", "role": "regular", **options}}


def test_regular_objectives_are_on_no_level() -> None:
    """They train in the phases that read their stream."""
    resolved = config(objectives=regular("st", weight=0.3), levels=[{"objectives": ["asr"]}, LOWER])
    assert levels_of(resolved) == [["asr"], ["cpc"]] and resolved.regular(resolved.phase_list()[0]) == {"st": 0.3}
    resolved = config(objectives=regular("st"))
    assert levels_of(resolved) == [["asr", "cpc"]] and resolved.regular(resolved.phase_list()[0]) == {"st": 1.0}
    streams = {**DATA["streams"], "it": {"sets": ["train_it"]}}
    phases = [{"name": name, "epochs": 1, "levels": [{"objectives": [name]}]} for name in ("asr", "cpc")]
    objectives = {**regular("st", stream="it"), "asr": {"type": "ctc", "stream": "it"}}
    resolved = config(streams=streams, objectives=objectives, phases=phases)
    assert [resolved.regular(phase) for phase in resolved.phases] == [{"st": 1.0}, {}]


def test_both_levels_merge_gradients_on_the_same_modules() -> None:
    objectives = {**DATA["objectives"], "cpc": {**DATA["objectives"]["cpc"], "level": "lower"}}
    resolved = config(**WRITER, objectives=objectives, weighting={"type": "mgda", "over": ["encoder", "writer"]}, penalty={})
    assert [level.weighting.over for level in resolved.levels_of(resolved.phase_list()[0])] == [["encoder", "writer"]] * 2
    assert config().levels_of(Phase(name="x"))[0].weighting.over == ["encoder"]


def test_phases_inherit_the_optimizer() -> None:
    resolved = config(optim={"clip": 1.0, "lr": {"heads": 0.1}}, phases=[{"name": "a", "optim": {"lr": {"backbone": 1.0e-5}}}])
    optim = resolved.phases[0].optim
    assert (optim.clip, optim.lr.heads, optim.lr.backbone) == (1.0, 0.1, 1.0e-5)


def test_lengths_of_phases() -> None:
    first, second = {"name": "a", "levels": [UPPER, LOWER]}, {"name": "b", "levels": [{"objectives": ["asr"]}]}
    assert config(phases=[{**first, "epochs": 3}, {**second, "epochs": 2}]).train.epochs == 5
    resolved = config(phases=[{**first, "share": 0.75}, {**second, "share": 0.25}], train={"hours": 3.0})
    assert [phase.share for phase in resolved.phases] == [0.75, 0.25] and resolved.train.epochs is None
    assert config(phases=[first]).phases[0].share == 1.0


def phase(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "levels": [UPPER, LOWER], **more}


def heads(train: list[str] | None = None, **objectives: dict[str, Any]) -> dict[str, Any]:
    """Changes of objectives, or further ones, on streams with and without dev sets; `train` names those that select."""
    changed = {name: {"type": "ctc", "stream": "en", **DATA["objectives"].get(name, {}), **more} for name, more in objectives.items()}
    streams = {"en": {"sets": ["train_en"], "dev": ["dev_en"]}, "it": {"sets": ["train_it"]}}
    return {"streams": streams, "objectives": {**DATA["objectives"], **changed}, **({"train": {"select": train}} if train else {})}


def test_heads_that_lead_and_objectives_that_select() -> None:
    resolved = config(**heads(train=["asr", "st"], asr={"lead": True}, cpc={"decode": False}))
    assert resolved.train.select == ["asr", "st"] and resolved.objectives["asr"].lead and resolved.objectives["st"].decode
    assert not resolved.objectives["st"].lead and not resolved.objectives["cpc"].decode
    assert {"lead", "decode"}.isdisjoint(resolved.objectives["asr"].options())  # they belong to the objective, not to its loss
    targets = [{"text": "text.de"}, {"tokens": "other"}, {"stream": "it"}, {"type": "attention"}, {"type": "transducer"}]
    for target in targets:  # with another target or type an objective has a lead of its own
        resolved = config(**heads(asr={"lead": True}, st={"lead": True, **target}), tokens={"other": {"sets": ["train_en"]}})
        assert resolved.objectives["st"].lead
    assert config(**heads(train=["rnnt"], rnnt={"type": "transducer", "lead": True})).train.select == ["rnnt"]


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
        ({"weighting": {"type": "mgda", "over": ["encodr"]}}, ["weighting.over", "did you mean `encoder`"]),
        ({"weighting": {"type": "mgda", "over": []}}, ["weighting.over", "at least 1"]),
        ({**WRITER, "levels": [UPPER, {**LOWER, "weighting": {"type": "static", "over": ["writer"]}}]}, ["over", "the same modules"]),
        ({"levels": [UPPER, LOWER], "objectives": regular("cpc")}, ["levels.1.objectives", "cpc is regular"]),
        ({"objectives": regular("cpc", level="lower"), "penalty": {}}, ["objectives.cpc.level", "a regular objective is on no level"]),
        ({"objectives": regular("cpc", role="merged", weight=2.0)}, ["objectives.cpc.weight", "`role: regular`"]),
        ({"objectives": regular("cpc", weight=-1.0)}, ["objectives.cpc.weight", "greater than or equal to 0"]),
        ({"phases": [phase(level=[])]}, ["phases.0.level", "`levels`"]),
        ({"phases": [phase(epochs=1), phase("a", epochs=1)]}, ["phases", "`a`"]),
        ({"phases": [phase("a b")]}, ["phases.0.name", "begins with a letter", "'a b'"]),
        ({"phases": [phase(every="epoch", epochs=1)]}, ["phases.a.every", "there is none"]),
        ({"phases": [phase(every="epoch", share=0.5), phase("b")]}, ["phases.a.share", "epochs"]),
        ({"phases": [phase(epochs=1), phase("b", share=0.5)]}, ["phases", "lengths"]),
        ({"phases": [phase(share=0.5), phase("b", share=0.6)]}, ["phases", "sum to 1", "1.1"]),
        ({"phases": [phase(epochs=1, share=0.5)]}, ["phases.a", "either epochs or share"]),
        ({"phases": [phase(), phase("b")]}, ["phases.a", "either epochs or share"]),
        ({"phases": [phase(epochs=2)], "train": {"hours": 1.0}}, ["train", "hours"]),
        ({"phases": [phase(epochs=2)], "train": {"epochs": 3}}, ["train", "epochs"]),
        ({"phases": [phase(epoch_of="fr")]}, ["phases.a.epoch_of", "`fr`"]),
        ({"phases": [phase(init={"map": {}})]}, ["phases.0.init.0.from", "missing"]),
        (heads(asr={"lead": True}, st={"lead": True}), ["objectives.st.lead", "objectives.asr leads already"]),
        (heads(a={"type": "langid", "lead": True}, b={"type": "langid", "stream": "it", "lead": True}), ["objectives.b.lead", "a leads"]),
        (heads(a={"type": "transducer", "lead": True}, b={"type": "transducer", "lead": True}), ["objectives.b.lead", "a leads"]),
        (heads(asr={"lead": True, "decode": False}), ["objectives.asr.lead", "`decode: false`"]),
        (heads(cpc={"type": "cpc", "lead": True}), ["objectives.cpc.lead", "cpc"]),
        (heads(asr={"lead": "yes"}), ["objectives.asr.lead", "true or false"]),
        ({"train": {"select": "asr"}}, ["train.select", "'asr'", "'dev'", "list of objectives"]),
        ({"train": {"select": []}}, ["train.select"]),
        ({"train": {"select": ["asr", 3]}}, ["train.select.1", "quote it"]),
        (heads(train=["asd"]), ["train.select", "did you mean `asr`"]),
        (heads(train=["cpc"], cpc={"type": "cpc"}), ["train.select", "cpc", "no error"]),
        (heads(train=["asr"], asr={"decode": False}), ["train.select", "asr", "`decode: false`"]),
        (heads(train=["asr", "two"], two={"stream": "it"}), ["train.select", "two", "streams.it has no dev sets"]),
        (
            {**heads(train=["st"]), "phases": [phase(share=0.5), phase("b", share=0.5, levels=[{"objectives": ["asr"]}])]},
            ["train.select", "st is not trained in the last phase"],
        ),
    ],
)
def test_a_contradiction_is_one_line(changes: dict[str, Any], words: list[str]) -> None:
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
