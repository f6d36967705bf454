"""The configs of JUST: what its objectives share, the switches of docs/systems.md, and its sum of losses as a lower level."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from m2asr.config import check_config, load_config
from m2asr.objectives.build import build_system, resolve
from m2asr.objectives.system import System
from m2asr.report.ablation import Ablation, make_jobs
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.recipes.recipe import ROOT
from tests.recipes.test_configs import name_of, sizes, trainer_of

JUST = sorted(path for path in ROOT.glob("egs/*/conf/*.yaml") if re.fullmatch("(train|pretrain)_just.*", path.stem))
PAGE = (ROOT / "docs/systems.md").read_text(encoding="utf-8")
MINI = ROOT / "egs/mini/conf/train_just.yaml"
TINY = ["model.encoder.blocks=2", "model.encoder.dim=16", "model.encoder.heads=2", "model.encoder.kernel=3", "model.encoder.dropout=0.0",
        "objectives.contrastive.tap=block1", "model.texts.dim=8", "model.join.dim=8", "train.precision=float32"]  # fmt: skip


def switches(system: str) -> list[str]:
    """The values of --set in the table of a system on the page."""
    section = PAGE.partition(f"\n## {system}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| [^|]* \| `([^`]*=[^`]*)`", section.partition("### Switches")[2], re.M)


SWITCHES = switches("JUST")


def system_of(path: Path, *overrides: str) -> tuple[TrainConfig, System]:
    """The config, and its system without memory."""
    config = resolve(load_config(TrainConfig, path, list(overrides)))
    with torch.device("meta"):
        return config, build_system(config, sizes(config), 80)


def block(tap: str, config: TrainConfig) -> int:
    return config.model.encoder.options()["blocks"] if tap == "output" else int(tap.removeprefix("block"))


def words(changes: str) -> list[str]:
    """The changes of an option --set, as run.sh splits them."""
    return re.split(r" (?=[A-Za-z0-9_.]+=)", changes)


@pytest.mark.parametrize("path", JUST, ids=name_of)
def test_one_masked_pass_serves_both_losses_and_the_transducer_sees_no_mask(path: Path) -> None:
    config, system = system_of(path)
    contrastive, mlm = (config.objectives[name] for name in ("contrastive", "mlm"))
    assert contrastive.stream == mlm.stream and contrastive.options()["quantizer"] == mlm.options()["quantizer"]
    assert system.objectives["contrastive"].views == system.objectives["mlm"].views
    assert block(contrastive.options()["tap"], config) < block(mlm.options()["tap"], config)
    transducers = [name for name, objective in config.objectives.items() if objective.type == "transducer"]
    for name in transducers:
        assert all(view.mask is None for view in system.objectives[name].views)
        assert block(config.objectives[name].options()["tap"], config) >= block(mlm.options()["tap"], config)
    assert len({(config.objectives[name].options()["predictor"], config.objectives[name].options()["joiner"]) for name in transducers}) <= 1


def test_the_transducer_can_read_the_masked_pass() -> None:
    system = system_of(MINI, "objectives.asr.view.mask={probability: 0.13, length: 5}")[1]
    assert len({view for objective in system.objectives.values() for view in objective.views}) == 1


@pytest.mark.parametrize("changes", SWITCHES)
def test_every_switch_of_the_page_is_a_valid_config(changes: str) -> None:
    assert len(SWITCHES) >= 12
    plain, changed = (resolve(load_config(TrainConfig, MINI, overrides)) for overrides in ([], words(changes)))
    assert plain != changed
    system_of(MINI, *words(changes))


@pytest.mark.parametrize("path", sorted(ROOT.glob("egs/*/conf/ablation_*.yaml")), ids=name_of)
def test_every_row_of_an_ablation_can_be_built(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parents[1])
    jobs = list(make_jobs(load_config(Ablation, path)))
    for job in jobs:
        config = resolve(check_config(TrainConfig, job.config, job.tag))
        with torch.device("meta"):
            build_system(config, sizes(config), 80)
    assert len({job.tag for job in jobs}) == len(jobs)


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The gradients of a first step."""
    (phase,) = trainer.phases
    phase.start()
    outcome = phase.gradients(phase.next_step().draws(), 0.0, 0)
    assert not outcome.problem
    found = {name: value.grad.clone() for name, value in trainer.system.named_parameters() if value.grad is not None}
    phase.stop()
    return found


def test_the_sum_is_a_lower_level_with_a_constant_factor(tmp_path: Path) -> None:
    """The gradients are equal up to rounding, those of the quantizer and of the heads do not depend on w."""
    level = ["weighting=static", "objectives.contrastive.level=lower", "objectives.mlm.level=lower", "penalty={start: 0.1, end: 0.1}"]
    none = ["weighting.weights.contrastive=0.0", "weighting.weights.mlm=0.0"]
    added, below, zero = (gradients(trainer_of(MINI, tmp_path, [*TINY, *changes])) for changes in ([], level, none))
    assert added.keys() == below.keys()
    for name, value in added.items():
        torch.testing.assert_close(below[name], value, rtol=1e-4, atol=1e-7)
        if not name.startswith("encoder."):
            torch.testing.assert_close(zero[name], value)
    assert any(not torch.allclose(zero[name], value) for name, value in added.items() if name.startswith("encoder."))


def test_processes_without_a_batch_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Diversity is a mean over a micro-batch, so none is divided."""
    monkeypatch.setattr("m2asr.moo.collectives.Collectives.world", 2)
    trainer_of(MINI, tmp_path, TINY)
    expected = "phase train: a step has fewer batches (1) than processes (2), and none is divided, since contrastive compares its"
    assert f"warning: {expected} utterances; set train.accumulation: 2" in capsys.readouterr().err
    for changes in (["train.accumulation=2"], ["objectives.contrastive.diversity=0"]):
        trainer_of(MINI, tmp_path, [*TINY, *changes])
        assert "warning" not in capsys.readouterr().err
