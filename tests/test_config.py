"""Configs: valid ones are read; a mistake is one line that names the file, the key and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import yaml

from m2asr.config import DecodeConfig, FbankConfig, complete, construct, dump_config, load_config, merge_patch
from m2asr.errors import UserError
from m2asr.moo.build import build_weighting
from m2asr.report.ablation import Ablation
from m2asr.train_config import TrainConfig, Weighting
from m2asr.yaml_file import read_yaml

RECIPES = Path(__file__).resolve().parent.parent / "egs"
SMALL = """
model: {encoder: {type: conformer, dim: 8}}
streams: {en: {sets: [train_en], lang: en}}
tokens: {en: {sets: [train_en]}}
objectives:
  asr: {type: ctc, stream: en, tokens: en}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(SMALL)
    return path


def message(path: Path, *overrides: str, schema: type = TrainConfig) -> str:
    """The line of the error about this config."""
    with pytest.raises(UserError) as error:
        load_config(schema, path, list(overrides))
    text = str(error.value)
    assert "\n" not in text
    return text


def test_defaults_are_filled_in_and_survive_a_round_trip(small: Path) -> None:
    config = load_config(TrainConfig, small)
    assert config.optim.lr.heads == 5.0e-4 and config.weighting.type == "static"
    assert config.model.encoder.type_and_options() == {"type": "conformer", "dim": 8}
    small.write_text(dump_config(config))
    assert load_config(TrainConfig, small) == config


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/conf/*.yaml")), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_config_of_the_recipes_loads(path: Path) -> None:
    schema = {"fbank": FbankConfig, "decode": DecodeConfig, "ablation": Ablation}.get(path.stem.split("_")[0], TrainConfig)
    load_config(schema, path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.lr.head=1", ["optim.lr.head", "unknown key", "`heads`"]),
        ("optin.clip=1", ["optin", "unknown key", "`optim`"]),
        ("train.sede=1", ["train.sede", "`seed`"]),
        ("streams.en.langs=en", ["streams.en.langs", "`lang`"]),
        ("train.epochs=many", ["train.epochs", "integer", "'many'"]),
        ("train.epochs=1.5", ["train.epochs", "integer"]),
        ("train.epochs=true", ["train.epochs", "integer"]),
        ("train.seed.more=1", ["train.seed", "integer"]),
        ("train.epochs=0", ["train.epochs", "greater"]),
        ("train.select=best", ["train.select", "'dev'", "'best'"]),
        ("streams.en.sets=train_en", ["streams.en.sets", "list"]),
        ("streams.en.sets=[]", ["streams.en.sets"]),
        ("objectives.asr.stream=fr", ["objectives.asr.stream", "`fr`", "en"]),
        ("objectives.asr.tokens=eng", ["objectives.asr.tokens", "`eng`", "`en`"]),
        ("objectives.asr.level=lower", ["upper"]),
        ("batching.shares={fr: 1.0}", ["batching.shares", "`fr`"]),
        ("train.epoch_of=it", ["train.epoch_of", "`it`"]),
        ("streams.en.speeds=[0.9, 0]", ["streams.en.speeds"]),
        ("optim=3", ["optim"]),
        ("train={epochs: 3, hours: 1.5}", ["train", "either epochs or hours"]),
    ],
)
def test_a_mistake_names_file_key_and_remedy(small: Path, override: str, words: list[str]) -> None:
    text = message(small, override)
    assert str(small) in text
    assert all(word in text for word in words), text


def test_a_word_swaps_a_method_with_its_options(small: Path) -> None:
    config = load_config(TrainConfig, small, ["weighting={type: modo, rho: 0.1}", "weighting=mgda"])
    assert config.weighting.type_and_options() == {"type": "mgda"}


def test_a_run_has_one_length(small: Path) -> None:
    assert load_config(TrainConfig, small).train.epochs == 100
    config = load_config(TrainConfig, small, ["train={hours: 1.5}"])
    assert (config.train.epochs, config.train.hours) == (None, 1.5)


def test_a_lower_objective_needs_a_penalty(small: Path) -> None:
    lower = ["objectives.asr.level=upper", "objectives.cpc={type: cpc, stream: en, level: lower}"]
    assert "penalty: missing" in message(small, *lower)
    assert load_config(TrainConfig, small, [*lower, "penalty={end: 0.5}"]).penalty.end == 0.5


@pytest.mark.parametrize("section", ["model", "streams", "objectives"])
def test_a_missing_section_is_named(small: Path, section: str) -> None:
    data = read_yaml(small)
    del data[section]
    small.write_text(yaml.safe_dump(data))
    assert f"{section}: missing" in message(small)


def test_overrides_apply_in_order_and_are_typed(small: Path) -> None:
    overrides = ["optim.lr.heads=1e-4", "train.seed=7", "train.seed=8", "streams.en.dev=[dev_en]", "model.encoder.dim=16"]
    config = load_config(TrainConfig, small, overrides)
    assert config.optim.lr.heads == 1e-4 and config.train.seed == 8 and config.streams["en"].dev == ["dev_en"]
    assert config.model.encoder.options() == {"dim": 16}


@pytest.mark.parametrize("override", ["train.seed", "=3", "", "objectives.asr.type.more=1", "train.seed=[1"])
def test_an_override_that_cannot_be_applied_is_named(small: Path, override: str) -> None:
    assert f"`{override}`" in message(small, override)


def test_numbers_in_exponent_form_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "numbers.yaml"
    path.write_text("a: 1e-4\nb: 5.0e-4\nc: -2E+3\nd: 1e5\ne: 1_e4\n")
    assert read_yaml(path) == {"a": 1e-4, "b": 5.0e-4, "c": -2000.0, "d": 1e5, "e": "1_e4"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", [":3:"]),
        ("a: 1\n\tb: 2\n", [":2:"]),
        ("a: 1\nb: {c: 1,\n  c: 2}\n", [":3:", "`c` is given twice"]),
        ("a: 1\na: 1\n", [":2:", "`a` is given twice"]),
        ("- a\n- b\n", ["mapping", "list"]),
        ("", ["mapping"]),
        ("a: !!python/object/apply:os.system ['touch hacked']\n", [":1:"]),
        ("a: 1\n? {b: 1}\n: 2\n", [":2:"]),
    ],
)
def test_broken_yaml_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    line = message(path)
    assert line.startswith(str(path)) and all(word in line for word in words), line
    assert not (tmp_path / "hacked").exists()


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert "nope.yaml" in message(tmp_path / "nope.yaml")
    assert str(tmp_path) in message(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: \xff\xfe\n")
    assert "binary.yaml" in message(binary)


class Layer:
    """A component like those of m2asr: typed keyword arguments with defaults."""

    def __init__(self, size: int, *, dim: int, rate: float = 0.5, mode: Literal["fast", "exact"] = "fast", over: int | None = None) -> None:
        self.size, self.dim, self.rate, self.mode, self.over = size, dim, rate, mode, over


def test_a_component_is_built_from_its_options() -> None:
    layer = construct({"layer": Layer}, "model.layer", {"type": "layer", "dim": 4, "rate": 1}, size=3)
    assert (layer.size, layer.dim, layer.rate, layer.mode) == (3, 4, 1, "fast")
    assert complete({"layer": Layer}, "x", {"type": "layer", "dim": 4}, ("size",)) == {
        "type": "layer",
        "dim": 4,
        "rate": 0.5,
        "mode": "fast",
        "over": None,
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "lyaer", "dim": 4}, ["model.layer.type", "`lyaer`", "`layer`"]),
        ({"type": "layer"}, ["model.layer", "dim", "missing"]),
        ({"type": "layer", "dmi": 4, "dim": 4}, ["model.layer", "dmi", "`dim`"]),
        ({"type": "layer", "dim": "4"}, ["model.layer", "dim", "integer"]),
        ({"type": "layer", "dim": 4, "mode": "slow"}, ["model.layer", "mode", "'fast'"]),
        ({"type": "layer", "dim": 4, "size": 9}, ["model.layer", "size", "unknown key"]),
    ],
)
def test_a_mistake_in_a_component_is_named(options: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        construct({"layer": Layer}, "model.layer", options, size=3)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_patches_merge_and_remove():
    """The examples of RFC 7396, appendix A."""
    assert merge_patch({"a": "b"}, {"a": None}) == {}
    assert merge_patch({"a": "b"}, {"b": "c"}) == {"a": "b", "b": "c"}
    assert merge_patch({"a": ["b"]}, {"a": "c"}) == {"a": "c"}
    assert merge_patch({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert merge_patch({"a": "foo"}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
    assert merge_patch({"e": None}, {"a": 1}) == {"e": None, "a": 1}


def decode_message(tmp_path: Path, text: str) -> str:
    """The line of the error about a decode config, without the name of the file."""
    path = tmp_path / "decode.yaml"
    path.write_text("method: prefix_beam\n" + text)
    return message(path, schema=DecodeConfig).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lm: {weight: often}", "lm.weight: Input should be a valid number, got 'often'"),
        ("lm: {weight: .nan}", "lm.weight: Input should be a finite number, got nan"),
        ("lm: {weight: -1}", "lm.weight: Input should be greater than or equal to 0, got -1"),
        ("lm: {weight: [0.1, -1]}", "lm.weight.1: Input should be greater than or equal to 0, got -1"),
        ("lm: {weight: [0.1, x]}", "lm.weight.1: Input should be a valid number, got 'x'"),
        ("lm: {weight: [.inf]}", "lm.weight.0: Input should be a finite number, got inf"),
        ("lm: {weight: []}", "lm.weight: List should have at least 1 item after validation, not 0, got []"),
        ("lm: {weight: null}", "lm.weight: Input should be a valid number, got None"),
        ("bonus: true", "bonus: Input should be a valid number, got True"),
        ("bonus: '1'", "bonus: Input should be a valid number, got '1'"),
        ("bonus: {a: 1}", "bonus: Input should be a valid number, got {'a': 1}"),
        ("ctc_weight: [0.1, 1.5]", "ctc_weight.1: Input should be less than or equal to 1, got 1.5"),
        ("ctc_weight: .nan", "ctc_weight: Input should be a finite number, got nan"),
        ("length_penalty: -1", "length_penalty: Input should be greater than or equal to 0, got -1"),
        ("hotwords: {phrases: [a], bonus: [1, x]}", "hotwords.bonus.1: Input should be a valid number, got 'x'"),
        ("hotwords: {bonus: 2}", "hotwords: no phrases and no file; name some, or leave the section out"),
        ("hotwords: {phrases: anna}", "hotwords.phrases: Input should be a valid list, got 'anna'"),
        ("lm: {wieght: 1}", "lm.wieght: unknown key; did you mean `weight`?"),
        ("lm: {order: 11}", "lm.order: Input should be less than or equal to 10, got 11"),
        ("lm: {unit: letters}", "lm.unit: Input should be 'tokens' or 'words', got 'letters'"),
        ("lm: {prune: [0, 2, 1]}", "lm.prune: [0, 2, 1]: counts must begin with 0 and not fall, at most one per order (6)"),
        ("lm: {prune: []}", "lm.prune: []: counts must begin with 0 and not fall, at most one per order (6)"),
        ("lm: {order: 2, prune: [0, 0, 1]}", "lm.prune: [0, 0, 1]: counts must begin with 0 and not fall, at most one per order (2)"),
    ],
)
def test_mistakes_in_a_search_name_the_key(tmp_path: Path, text: str, expected: str) -> None:
    assert decode_message(tmp_path, text) == expected


@pytest.mark.parametrize("text", ["lm: {}", "hotwords: {phrases: [a]}", "bonus: 0.5", "bonus: [0.0]"])
def test_greedy_search_uses_no_text_models(tmp_path: Path, text: str) -> None:
    (tmp_path / "decode.yaml").write_text(text)
    keys = "lm, hotwords, bonus, min_tokens or min_ratio"
    expected = f"method greedy uses no {keys}; take these away, or choose another method, such as prefix_beam"
    assert message(tmp_path / "decode.yaml", schema=DecodeConfig) == f"{tmp_path}/decode.yaml: {expected}"


def test_transducers_add_no_score_of_ctc(tmp_path: Path) -> None:
    """Options of decoders are allowed, as a target without a transducer is decoded by one."""
    (tmp_path / "decode.yaml").write_text("method: transducer\nctc_weight: 0.5")
    expected = "method transducer uses no ctc_weight; take it away, or choose method joint or rescoring"
    assert message(tmp_path / "decode.yaml", schema=DecodeConfig) == f"{tmp_path}/decode.yaml: {expected}"
    options = {"beam": 4, "lm": {"weight": [0.1, 0.2]}, "bonus": [1.0], "length_penalty": [0.0, 1.0], "max_ratio": 0.5}
    config = DecodeConfig.model_validate({"method": "transducer", **options})
    assert DecodeConfig.model_validate(config.model_dump()) == config  # with all defaults written out


def test_a_number_may_be_a_list_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "decode.yaml").write_text("{method: prefix_beam, bonus: [1, 2.5], lm: {weight: 1, prune: [0, 0, 1]}, ctc_weight: [0, 1]}")
    config = load_config(DecodeConfig, tmp_path / "decode.yaml")
    assert (config.bonus, config.lm.weight, config.ctc_weight, config.length_penalty) == ([1, 2.5], 1, [0, 1], 0.0)
    assert DecodeConfig.model_validate(config.model_dump()) == config == DecodeConfig.model_validate(yaml.safe_load(dump_config(config)))


def test_a_value_of_two_forms_is_told_with_both(tmp_path: Path) -> None:
    path = tmp_path / "fbank.yaml"
    path.write_text("{}")
    for value, form in (("-1", "Input should be greater than or equal to 0"), ("left", "Input should be a valid integer")):
        assert f": channel: {form}; or: Input should be 'mix', got " in message(path, f"channel={value}", schema=FbankConfig)
    with pytest.raises(UserError, match=r"^weighting: weights: Input should be a valid dictionary"):
        build_weighting(Weighting(type="static", weights=[1.0]), ["asr"])
