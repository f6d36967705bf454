"""Mutated configs and data directories are read, or refused in one line, but never end in a traceback, and leave others' files alone.

M2ASR_FUZZ is the number of cases of each test, M2ASR_FUZZ_SEED the first seed: `make fuzz` tries thousands, `make test` a few.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from m2asr.config import DecodeConfig, FbankConfig, check_config
from m2asr.data.combine import combine
from m2asr.data.index import UtteranceIndex
from m2asr.data.subset import subset
from m2asr.data.validate import validate
from m2asr.errors import UserError
from m2asr.objectives.build import resolve
from m2asr.train_config import TrainConfig
from m2asr.yaml_file import parse_yaml, read_yaml
from tests.conftest import ROOT
from tests.fuzz.cases import mutate, smallest, spoil

CASES, FIRST = int(os.environ.get("M2ASR_FUZZ", "60")), int(os.environ.get("M2ASR_FUZZ_SEED", "1"))
TRAIN = sorted(ROOT.glob("egs/mini/conf/train_*.yaml"))
SCHEMAS = {"fbank.yaml": FbankConfig, "decode.yaml": DecodeConfig, "decode_lm.yaml": DecodeConfig}


def problem(call: Callable[[], Any]) -> str | None:
    """What is wrong with how a call ends: nothing where it works, or is refused in a short line."""
    try:
        call()
    except UserError as error:
        text = str(error)
        return None if text.strip() and "\n" not in text and len(text) < 5000 else f"message {text[:300]!r}"
    except Exception as error:  # noqa: BLE001 - any other error is a traceback for the user
        return f"{type(error).__name__}: {error}"[:300]
    return None


def trained(data: Any) -> str | None:
    """What is wrong with how a training config is read."""
    return problem(lambda: resolve(check_config(TrainConfig, data, "train.yaml")))


@pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.stem)
def test_training_configs(path: Path) -> None:
    config, count = read_yaml(path), max(3, CASES // len(TRAIN))
    for seed in range(FIRST, FIRST + count):
        data, changes = mutate(config, random.Random(seed))
        if found := trained(data):
            pytest.fail(f"seed {seed} ({changes}): {found}: {smallest(data, lambda smaller, found=found: trained(smaller) == found)}")


@pytest.mark.parametrize("name", SCHEMAS)
def test_other_configs(name: str) -> None:
    config = read_yaml(ROOT / "egs/mini/conf" / name)
    for seed in range(FIRST, FIRST + CASES):
        data, changes = mutate(config, random.Random(seed))
        assert not (found := problem(lambda data=data: check_config(SCHEMAS[name], data, name))), f"seed {seed} ({changes}): {found}"


def test_broken_yaml() -> None:
    text = TRAIN[0].read_bytes()
    for seed in range(FIRST, FIRST + CASES):
        broken = spoil(text, random.Random(seed)).decode(errors="replace")
        assert not (found := problem(lambda broken=broken: parse_yaml(broken, "train.yaml"))), f"seed {seed}: {found}"


def test_data_directories(mini_data: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    subset(mini_data / "dev_it", clean, 5)
    names = sorted(path.name for path in clean.iterdir() if path.is_file() and path.name[0] != ".")
    for seed in range(FIRST, FIRST + max(3, CASES // 3)):
        rng = random.Random(seed)
        folder, theirs = tmp_path / f"set{seed}", tmp_path / "theirs"
        shutil.copytree(clean, folder)
        name = rng.choice(names)
        (folder / name).write_bytes(spoil((folder / name).read_bytes(), rng))
        theirs.mkdir(exist_ok=True)
        (theirs / "thesis").write_text("precious")
        for call in (
            lambda folder=folder: str(validate(folder, audio=False)),
            lambda folder=folder: [UtteranceIndex(folder).text(i) for i in range(len(UtteranceIndex(folder)))],
            lambda folder=folder: subset(folder, tmp_path / "out", 2),
            lambda folder=folder: combine([folder], tmp_path / "out"),
            lambda folder=folder, theirs=theirs: combine([folder], theirs),
        ):
            assert not (found := problem(call)), f"seed {seed} ({name}): {found}"
        assert (theirs / "thesis").read_text() == "precious"
        shutil.rmtree(folder)
