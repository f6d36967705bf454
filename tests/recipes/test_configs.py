"""Every config of the recipes is valid, and the full-size system of every training config makes a step that moves the parameters it trains.

Files that are the same in all recipes are links to those of TEMPLATE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from m2asr.config import DecodeConfig, FbankConfig, load_config
from m2asr.data.batch import Batch, Key, target_key
from m2asr.data.feats import StoredFeats
from m2asr.data.sources import Source
from m2asr.objectives.build import build_system, resolve
from m2asr.report.ablation import Ablation
from m2asr.train.materials import Materials, targets_of
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.recipes.recipe import ROOT

CONFIGS = sorted([*ROOT.glob("egs/*/conf/train_*.yaml"), *ROOT.glob("egs/*/conf/pretrain_*.yaml")])
CHARACTERS = 5000  # of Mandarin
PAPER = {"blocks": 8, "dim": 512, "heads": 8, "kernel": 31, "ff_mult": 4, "dropout": 0.1, "subsampling": "conv2d"}
SELF_SUPERVISED = ("cpc", "contrastive", "masked_lm", "self_distillation")
SMALLER = [f"model.{name}.{key}" for name in ("encoder", "writer") for key in ("dim=128", "heads=4")]
LARGE = {  # too large for a step on a small machine
    "mls-train_just": ["model.encoder.dim=128", "model.codes.width=128"],
    "aishell-train_mmspeech": SMALLER,
    "aishell-train_mmspeech_large": SMALLER,
    "wenetspeech-train_3m": ["model.encoder.dim=128", "model.sounds.dim=128", "model.texts.dim=128"],
}
READ = 12  # tokens of a text that is read
SHORT, LONG = 1.0, 3.5  # seconds of an utterance; the longer one holds masked spans, and a window of CPC: 2 s of context, 1 s of future
SCHEMAS = {"train_": TrainConfig, "pretrain_": TrainConfig, "decode": DecodeConfig, "fbank": FbankConfig, "ablation": Ablation}


def name_of(path: Path) -> str:
    return f"{path.parts[-3]}-{path.stem}"


class Noise(Source):
    """A stream of two utterances of noise per batch, or of random tokens where `inputs` are read; sizes of vocabularies are by key."""

    def __init__(self, name: str, seconds: float, targets: Mapping[str, int], inputs: Mapping[str, int], feats: bool) -> None:
        self.name, self.frame_shift, self.targets, self.tokens = name, 0.01, targets, inputs
        self.feats, self.token_seconds = StoredFeats() if feats else None, seconds / READ
        frames = np.full(8, round(seconds / self.frame_shift), dtype=np.int32)
        self.index = SimpleNamespace(frames=frames, languages=["en"], lang_ids=np.zeros(8, dtype=np.int16))

    def tokens_in(self, key: str) -> np.ndarray:
        return np.full(8, READ, dtype=np.int32)

    def load(self, numbers: Sequence[int] | np.ndarray, key: Key, refill: bool = True) -> tuple[Batch, list[str]]:
        generator = torch.Generator().manual_seed(key[3])
        inputs = {name: torch.randint(2, size - 1, (2, READ), generator=generator) for name, size in self.tokens.items()}
        if self.feats is not None:
            inputs["feats"] = torch.randn(2, int(self.frames[0]), 80, generator=generator)
        return Batch(
            inputs=inputs,
            lengths={name: torch.full((2,), values.shape[1]) for name, values in inputs.items()},
            targets={name: torch.randint(2, size - 1, (2, 6), generator=generator) for name, size in self.targets.items()},
            target_lengths={name: torch.tensor([6, 4]) for name in self.targets},
            lang=["en", "en"],
            speakers=["a", "b"],
            utt_ids=["a-1", "b-1"],
            key=key,
        ), []


def sizes(config: TrainConfig) -> dict[str, int]:
    """Tokens of every tokenizer."""
    return {name: tokens.size or CHARACTERS for name, tokens in config.tokens.items()}


def trainer_of(path: Path, exp: Path, overrides: Sequence[str] = ()) -> Trainer:
    """The trainer of a config on noise."""
    config = resolve(load_config(TrainConfig, path, ["train.workers=0", *overrides]))
    for phase in config.phases:
        phase.init = None  # other runs, which were not made
    tokens: dict[str, Any] = {name: SimpleNamespace(size=size) for name, size in sizes(config).items()}
    windowed = {objective.stream for objective in config.objectives.values() if objective.type in SELF_SUPERVISED}
    sources = {}
    for name in config.streams:
        targets = {target_key(*target[:2]): target[2].size for target in targets_of(config, name, tokens)}
        inputs = {target_key(kind, text): tokens[kind].size for kind, text in config.reads(name) if kind != "feats"}
        sources[name] = Noise(name, LONG if name in windowed else SHORT, targets, inputs, ("feats", "") in config.reads(name))
    return Trainer(config, Materials(tokens, sources, {}, FbankConfig(), torch.zeros(80), torch.ones(80)), exp)


def check_steps(trainer: Trainer) -> None:
    """Every phase makes a step in which the encoder and the heads of its objectives move, and nothing else does."""
    for phase in trainer.phases:
        phase.start()
        before = {name: value.clone() for name, value in trainer.system.named_parameters()}
        outcome = phase.gradients(phase.next_step().draws(), 0.0, 0)
        assert not outcome.problem
        phase.optimizer.step(0.5 * phase.total_steps)
        phase.joint.applied(outcome)
        moved = {name.removeprefix("objectives.").split(".")[0] for name, value in trainer.system.named_parameters()
                 if not torch.equal(value, before[name])}  # fmt: skip
        heads = {name for name in phase.streams if list(trainer.system.objectives[name].parameters())}  # some have only a shared decoder
        objectives = [trainer.system.objectives[name] for name in phase.streams]
        shared = {module for objective in objectives for module in objective.runs}
        networks = {tap for objective in objectives for _, tap in objective.reads if tap in trainer.system.module_names}
        views = [view for objective in objectives for view in objective.views]
        before_encoder = {name for view in views for name in (view.embed, view.mask and view.mask.vector) if name}
        assert moved == {"encoder", *heads, *shared, *networks, *before_encoder}
        phase.stop()


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_the_full_size_system_can_be_built(path: Path) -> None:
    config = resolve(load_config(TrainConfig, path))
    with torch.device("meta"):
        system = build_system(config, sizes(config), 80)
    assert all(parameter.is_meta for parameter in system.parameters())
    if name_of(path) == "mls-train_just":
        assert 0.6e9 < sum(parameter.numel() for parameter in system.encoder.parameters()) < 0.65e9
    elif path.parts[-3] not in ("mini", "debspeech", "TEMPLATE") and not re.search("_3m|_mmspeech", path.stem):
        assert {key: config.model.encoder.type_and_options()[key] for key in PAPER} == PAPER
        assert 50e6 < sum(parameter.numel() for parameter in system.encoder.parameters()) < 65e6


@pytest.mark.parametrize("path", sorted(ROOT.glob("egs/*/conf/*.yaml")), ids=name_of)
def test_every_config_is_valid(path: Path) -> None:
    (schema,) = [schema for start, schema in SCHEMAS.items() if path.stem.startswith(start)]
    load_config(schema, path)


@pytest.mark.parametrize("folder", sorted(ROOT.glob("egs/*/")), ids=lambda folder: folder.name)
def test_files_that_equal_those_of_the_template_are_links(folder: Path) -> None:
    for name in ("cmd.sh", "conf/fbank.yaml"):
        path, template = folder / name, ROOT / "egs/TEMPLATE" / name
        if path != template and path.read_bytes() == template.read_bytes():
            assert path.is_symlink() and path.resolve() == template.resolve(), f"{path}: make it a link to {template}"


@pytest.mark.parametrize("folder", sorted({path.parent for path in CONFIGS}), ids=lambda folder: folder.parent.name)
def test_every_search_of_a_recipe_has_a_folder_of_its_own(folder: Path) -> None:
    names = [load_config(DecodeConfig, path).name for path in folder.glob("decode*.yaml")]
    assert names and len(set(names)) == len(names)


@pytest.mark.recipes
@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_every_phase_makes_a_step_at_full_size(path: Path, tmp_path: Path) -> None:
    check_steps(trainer_of(path, tmp_path, LARGE.get(name_of(path), [])))
