"""The groups of objectives that are timed apart are valid configs with the modules that they need."""

from __future__ import annotations

import pytest
import torch

from m2asr.config import load_config
from m2asr.objectives.build import build_system, resolve
from m2asr.train_config import TrainConfig
from tests.recipes.recipe import ROOT
from tools import bench_passes

CONFIG = ROOT / "egs/mini/conf/train_just.yaml"


@pytest.mark.parametrize(
    ("names", "modules"), [(["asr"], {"encoder", "texts", "join"}), (["contrastive", "mlm"], {"encoder", "codes"})], ids=["asr", "masked"]
)
def test_a_group_is_left_alone_with_its_modules(names: list[str], modules: set[str]) -> None:
    changes = bench_passes.alone(load_config(TrainConfig, CONFIG).model_dump(exclude_none=True), names)
    config = resolve(load_config(TrainConfig, CONFIG, changes))
    with torch.device("meta"):
        system = build_system(config, {"all": 40}, 80)
    assert set(system.objectives) == set(names) and set(system.module_names) == modules
