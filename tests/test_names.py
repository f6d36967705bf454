"""Names lead nowhere else and clash with nothing; they are checked when a config or an option is read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from torch import nn

from m2asr.config import DecodeConfig, load_config
from m2asr.errors import UserError
from m2asr.names import FILE, SYSTEM, TAKEN
from m2asr.objectives.build import resolve
from m2asr.objectives.system import System
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT, command

TRAIN = ROOT / "egs/mini/conf/train_m2asr.yaml"
OUTSIDE = ["..", ".", "/abs", "../x", "x/../../leak", "a/b", "", "a\nb", "a b", "-x", "x" * 300]


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_the_names_that_torch_takes_are_known() -> None:
    assert public(nn.ModuleDict) <= TAKEN | {"training"} and public(System) <= TAKEN | SYSTEM


def message(*changes: str) -> str:
    with pytest.raises(UserError) as error:
        resolve(load_config(TrainConfig, TRAIN, list(changes)))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    return str(error.value)


@pytest.mark.parametrize("name", ["asr.en", "a/b", "..", "2x", "x y", "values", "train", "type", "x" * 300, "keys"])
def test_names_of_objectives(name: str, tmp_path: Path) -> None:
    text = TRAIN.read_text() + f'  "{name}": {{type: ctc, stream: it, tokens: it}}\n'
    at = text.index("objectives:")
    end = text.index("\n", at) + 1
    (tmp_path / "train.yaml").write_text(text[:end] + f'  "{name}": {{type: ctc, stream: it, tokens: it}}\n' + TRAIN.read_text()[end:])
    with pytest.raises(UserError, match=r"objectives\..*: (a name begins with a letter|this name is taken)"):
        load_config(TrainConfig, tmp_path / "train.yaml")


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_become_folders_lead_nowhere_else(name: str, tmp_path: Path) -> None:
    quoted = repr(name).replace("\\n", "\n\n") if "\n" in name else f"'{name}'"
    (tmp_path / "decode.yaml").write_text(f"name: {quoted}\n")
    with pytest.raises(UserError, match="name: a name of a folder"):
        load_config(DecodeConfig, tmp_path / "decode.yaml")
    assert not FILE.fullmatch(name) or len(name) > 100
    assert "streams.it.sets.0: a name of a folder" in message(f"streams.it.sets=['{name}']")
    assert "streams.it.lang" in message(f"streams.it.lang='{name}'")
    for text in ("text.", ""):
        assert "tokens.it.text: the name of a table" in message(f"tokens.it.text='{text}{name}'")


def test_texts_of_objectives() -> None:
    for key in ("text", "view"):
        value = "../../x" if key == "text" else "{text: ../../x}"
        with pytest.raises(UserError, match="objectives.asr_it: text: the name of a table"):
            load_config(TrainConfig, TRAIN, [f"objectives.asr_it.{key}={value}"])


@pytest.mark.parametrize("key", ["tokens", "streams"])
def test_names_of_tokenizers_and_streams(key: str) -> None:
    value = "{sets: [train_it]}"
    for name in ("/abs", "..", "x/y", "a b"):
        assert f"{key}.{name}: a name begins with a letter" in message(f"{key}={{{name!r}: {value}}}")
    assert "tokens.feats: this name is taken" in message(f"tokens.feats={value}")


@pytest.mark.parametrize(
    ("module", "args"),
    [
        ("decode", ["../dev_en", "--exp", "x", "--config", "egs/mini/conf/decode.yaml"]),
        ("fbank", ["../dev_en", "--config", "egs/mini/conf/fbank.yaml"]),
        ("experts", ["exp", "--sets", "/abs"]),
        ("score", ["--exp", "x", "--decode", "a/../.."]),
        ("score", ["--exp", "x", "--by", "../x"]),
        ("compare", ["a=b", "--decode", "../x"]),
    ],
)
def test_options_that_name_a_folder(module: str, args: list[str]) -> None:
    done = command(module, *args)
    assert done.returncode == 2 and "a name of a folder" in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("tag", ["..", ".", ".hidden", "a/b", "-x"])
def test_tags(tag: str) -> None:
    done = subprocess.run(["./run.sh", f"--tag={tag}", "--dry_run"], cwd=ROOT / "egs/mini", capture_output=True, text=True)
    assert done.returncode == 2 and "--tag" in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_words_that_yaml_1_1_takes_for_truth_values_are_words(tmp_path: Path) -> None:
    config = load_config(TrainConfig, TRAIN, ["streams.it.lang=no", "streams.no={sets: [on], lang: yes}", "train.hours=1e1"])
    assert config.streams["it"].lang == "no" and config.streams["no"].sets == ["on"] and config.train.hours == 10
    assert "objectives.st_it_en.decode: write true or false, not no" in message("objectives.st_it_en.decode=no")
    assert message("streams.it.lang=true").endswith("a word is expected, but true is a truth value in YAML; quote it: 'true'")
    number = "a word is expected, but 202401 is a number in YAML; quote it as you wrote it, such as '2024_01'"
    assert message("streams.it.sets=[2024_01]").endswith(number)
    assert "quote it: 'true'" in message("streams.true.lang=it", "streams={true: {sets: [x]}}")
