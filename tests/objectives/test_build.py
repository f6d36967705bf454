"""From a config to a system: defaults, modules, and mistakes, each told in one line."""

from __future__ import annotations

import re

import pytest
import torch

from m2asr.errors import UserError
from m2asr.objectives.build import build_system, resolve
from m2asr.objectives.view import Mask, View
from m2asr.train_config import TrainConfig
from tests.objectives import build

DECODER = {"type": "transformer", "blocks": 1, "dim": 8, "heads": 2}
PHONES = {"type": "embedding", "tokens": "b"}
GAP = {"type": "mask_vector"}
MASK = {"probability": 0.2, "length": 3, "vector": "gap"}
CTC = {"type": "ctc", "stream": "x", "tokens": "a"}
ATTENTION = {"type": "attention", "stream": "x", "tokens": "a", "decoder": "main"}


def model(**modules):
    return {**build.config().model.model_dump(), **modules}


def system(objective, **modules):
    return build.system(model=model(**modules), objectives={"one": objective})


def refused(message, call, *args, **kwargs):
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        call(*args, **kwargs)
    assert "\n" not in str(raised.value)


def test_resolve_fills_in_defaults_and_refuses_what_is_not_there():
    config = build.config()
    assert config.model.encoder.options()["ff_mult"] == 4
    assert config.objectives["cpc"].options()["temperature"] == 0.1
    assert resolve(config) == config
    objectives = {"asr_x": {"type": "ctc", "stream": "x", "tokens": "a", "tapp": "output"}}
    with pytest.raises(UserError, match="objectives.asr_x: tapp: unknown key; did you mean `tap`"):
        build.config(objectives=objectives)
    with pytest.raises(UserError, match="did you mean `ctc`"):
        build.config(objectives={"asr_x": {"type": "ctcc", "stream": "x"}})


def test_resolve_fills_in_modules_and_views():
    view = {"input": "b", "embed": "phones", "mask": MASK}
    config = build.config(model=model(main=DECODER, phones=PHONES, gap="mask_vector"), objectives={"one": {**ATTENTION, "view": view}})
    assert list(config.model.modules()) == ["encoder", "main", "phones", "gap"]
    assert config.model.modules()["main"].options()["ff_mult"] == 4 and config.model.modules()["gap"].type_and_options() == GAP
    assert config.objectives["one"].options()["view"] == {**view, "text": "text", "start": 0, "causal": False, "noise": None}
    assert resolve(config) == config


@pytest.mark.parametrize("flat", [False, True])
def test_a_section_of_decoders_is_the_same_as_naming_them_in_the_model(flat):
    objectives = {"one": ATTENTION, "two": {**ATTENTION, "stream": "y", "tokens": "b", "decoder": "other"}}
    configs = []
    for decoders in ({"main": DECODER, "other": DECODER}, {"decoders": {"main": DECODER, "other": DECODER}}):
        data = build.config(model=model(**decoders), objectives=objectives).model_dump()
        if flat:  # a resolved config is read again as it was written
            data = TrainConfig.model_validate(data).model_dump()
        configs.append(TrainConfig.model_validate(data))
    assert configs[0] == configs[1] and "decoders" not in configs[1].model_dump()["model"]
    states = []
    for config in configs:
        torch.manual_seed(0)
        states.append(build_system(config, build.VOCAB, feat_dim=8).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert {name.split(".")[0] for name in states[0]} == {"mean", "scale", "encoder", "main", "other"}
    assert states[0]["main.output.weight"].shape == (12, 8) and states[0]["other.output.weight"].shape == (9, 8)


@pytest.mark.parametrize("modules", [{"decoders": None}, {"decoders": {"main": None, "other": DECODER}}, {"main": None, "other": DECODER},
                                     {"other": DECODER, "decoders": {"other": None}}])  # fmt: skip
def test_a_null_takes_a_decoder_away(modules):
    objective = {**ATTENTION, "decoder": "other"} if "other" in str(modules) else CTC
    assert "main" not in build.config(model=model(**modules), objectives={"one": objective}).model.modules()


def test_a_word_is_a_module_of_this_type():
    built = system({**CTC, "view": {"mask": MASK}}, gap="mask_vector")
    assert built.module_names == ("encoder", "gap") and built.gap.vector.shape == (16,)
    assert built.objectives["one"].reads == ((View(mask=Mask(0.2, 3, "gap")), "output"),)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"main": DECODER, "decoders": {"main": DECODER}}, "model.decoders.main: this name is taken in `model`"),
        ({"decoders": {"encoder": DECODER}}, "model.decoders.encoder: this name is taken in `model`"),
        ({"decoders": {"cmvn": DECODER}}, "model.decoders.cmvn: this name is taken in `model`"),
        ({"decoders": [DECODER]}, "model.decoders: give each decoder a name"),
        ({"specaugmnt": {"time_width": 3}}, "model.specaugmnt: unknown key; did you mean `specaugment`"),
        ({"dropout": 0.1}, "model.dropout: unknown key; valid: encoder, cmvn, specaugment; a module has a `type`"),
        ({"objectives": GAP}, "model.objectives: this name is taken"),
        ({"mean": GAP}, "model.mean: this name is taken"),
        ({"my.gap": GAP}, "model.my.gap: a name begins with a letter, and has letters, digits, _"),
        ({"1st": GAP}, "model.1st: a name begins with a letter"),
        ({"gap": {"type": "mask_vectr"}}, "model.gap.type: `mask_vectr` does not exist; did you mean `mask_vector`"),
        ({"gap": {**GAP, "dim": 3}}, "model.gap: dim: unknown key"),
        ({"phones": {"type": "embedding"}}, "model.phones: tokens: missing"),
        ({"phones": {**PHONES, "tokens": "c"}}, "model.phones.tokens: `c` does not exist; valid: a, b"),
        ({"encoder": DECODER}, "model.encoder.type: `transformer` does not exist; did you mean `transformer_encoder`"),
    ],
)
def test_wrong_modules_are_told_in_one_line(modules, message):
    refused(message, build.config, model=model(**modules), objectives={"one": CTC})


def test_a_module_whose_name_is_a_number():
    """As YAML reads `1: ...`."""
    data = build.config(objectives={"one": CTC}).model_dump()
    data["model"][1] = GAP
    refused("model.1: a name begins with a letter", TrainConfig.model_validate, data)


@pytest.mark.parametrize("name", ["encode", "augment", "parameters"])
def test_a_module_cannot_take_the_name_of_what_a_system_does(name):
    objectives = {"one": {**CTC, "view": {"mask": {**MASK, "vector": name}}}}
    with pytest.raises(UserError, match=f"model.{name}: this name is taken; choose another one"):
        build.config(model=model(**{name: GAP}), objectives=objectives)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"strat": 1}, "objectives.one: view.strat: unknown key; did you mean `start`"),
        ({"cut": {}}, "objectives.one: view.cut: unknown key"),
        ({"start": -1}, "objectives.one: view.start: Input should be greater than or equal to 0"),
        ({"start": 2}, "objectives.one.view.start: the encoder has 2 blocks; give a number from 0 to 1"),
        ({"causal": 1}, "objectives.one: view.causal: Input should be a valid boolean"),
        ({"mask": {"probability": 0.1}}, "objectives.one: view.mask.length: missing"),
        ({"noise": {"random": 0.1}}, "objectives.one: view.noise.share: missing"),
        ({"noise": {"share": 0.3, "span": 0}}, "objectives.one: view.noise.span: Input should be greater than or equal to 1"),
        ({"noise": {"share": 0.3}}, "objectives.one.view.noise: it corrupts tokens, and this view reads features"),
        ({"mask": {**MASK, "probability": 0.0}}, "objectives.one: view.mask.probability: Input should be greater than 0"),
        ({"mask": {**MASK, "probability": 1.5}}, "objectives.one: view.mask.probability: Input should be less than or equal to 1"),
        ({"mask": {**MASK, "length": 0}}, "objectives.one: view.mask.length: Input should be greater than or equal to 1"),
        ({"mask": {**MASK, "size": 3}}, "objectives.one: view.mask.size: unknown key"),
        ({"mask": {**MASK, "vector": "gup"}}, "objectives.one.view.mask.vector: `gup` does not exist; did you mean `gap`"),
        ({"mask": {**MASK, "vector": "phones"}}, "objectives.one.view.mask.vector: model.phones has the type embedding; name a module of"),
        ({"mask": {**MASK, "vector": "encoder"}}, "objectives.one.view.mask.vector: model.encoder has the type conformer; name"),
        ({"input": "b"}, "objectives.one.view: `input` names the tokens to read, and `embed` the module"),
        ({"embed": "phones"}, "objectives.one.view: `input` names the tokens to read, and `embed` the module"),
        ({"input": "b", "embed": "phonos"}, "objectives.one.view.embed: `phonos` does not exist; did you mean `phones`"),
        ({"input": "b", "embed": "gap"}, "objectives.one.view.embed: model.gap has the type mask_vector; name a module of"),
        ({"input": "a", "embed": "phones"}, "objectives.one.view.input: model.phones reads the tokens b, not a"),
        ({"input": "b", "embed": "phones", "start": 5}, "objectives.one.view.start: the encoder has 2 blocks"),
    ],
)
def test_wrong_views_are_told_in_one_line(view, message):
    refused(message, system, {**CTC, "view": view}, phones=PHONES, gap=GAP)


def test_a_tap_before_the_start_is_refused():
    """These blocks are left out, so there is nothing to read."""
    for tap in ("frontend", "block2", "output"):
        system({**CTC, "tap": tap, "decode": False, "view": {"start": 1}})
    late = {**CTC, "tap": "block1", "decode": False, "view": {"start": 1}}
    refused("objectives.one.tap: `block1` does not exist; did you mean `block2`", system, late)


@pytest.mark.parametrize("view", [{"start": 1}, {"causal": True}, {"input": "b", "embed": "phones"}])
def test_search_reads_no_head_of_other_states(view):
    """It encodes whole utterances from the front end on; a head that has learned on others would be read wrongly."""
    modules = {"phones": {"type": "embedding", "tokens": "b"}} if "embed" in view else {}
    refused("objectives.one.view: search cannot use this view", system, {**CTC, "view": view}, **modules)


def test_only_a_decoder_decodes():
    message = "objectives.one.decoder: model.phones has the type embedding; name a module of the type transformer"
    refused(message, build.config, model=model(main=DECODER, phones=PHONES), objectives={"one": {**ATTENTION, "decoder": "phones"}})


@pytest.mark.parametrize("module", [PHONES, GAP, build.config().model.encoder.type_and_options()], ids=lambda module: module["type"])
def test_a_module_that_nothing_uses_is_told(module):
    """It would be saved with the weights, and never learn."""
    refused("model.spare: no objective uses this module", system, CTC, spare=module)
