"""Ablations: patches, the order and the budget of runs, finished runs, a recipe that fails, a config that was changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from m2asr.config import check_config, load_config
from m2asr.errors import UserError
from m2asr.files import lock
from m2asr.moo.build import build_level
from m2asr.objectives.build import resolve
from m2asr.report.ablation import Ablation, Job, call_recipe, config_changes, finished_runs, make_jobs, run_job
from m2asr.train_config import TrainConfig
from tests.train import recipe

EGS = Path(__file__).resolve().parents[2] / "egs"
BASE = {"objectives": {"asr": {"type": "ctc"}, "cpc": {"type": "cpc"}}, "weighting": {"type": "modo", "rho": 0.3}, "train": {"epochs": 5}}


def finish(job: Job, folder: Path) -> None:
    """Write the files of a run that was scored."""
    for path, text in ((f"conf/{job.tag}.yaml", yaml.safe_dump(job.config)), (f"{job.tag}/results.json", "{}")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture
def ablation(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(BASE))
    parts = {lang: {"objectives": {"asr": {"stream": lang}}} for lang in ("en", "it")}
    rows = {"joint": {"base": str(base), "patch": {"weighting": "static"}}, "alone": {"base": str(base), "parts": parts}}
    return Ablation.model_validate({"hours": 3.0, "seeds": [1, 7], "rows": rows})


def test_every_row_has_the_same_budget(ablation):
    jobs = list(make_jobs(ablation))
    assert [job.tag for job in jobs] == [f"{name}_seed{seed}" for seed in (1, 7) for name in ("joint", "alone_en", "alone_it")]
    assert [job.config["train"] for job in jobs[:2]] == [{"hours": 3.0, "seed": 1}, {"hours": 1.5, "seed": 1}]
    assert jobs[0].config["weighting"] == "static" and jobs[1].config["weighting"] == BASE["weighting"]
    assert jobs[2].config["objectives"]["asr"] == {"type": "ctc", "stream": "it"}


@pytest.mark.parametrize(("name", "runs"), [("mini", 39), ("debspeech", 8)])
def test_every_row_of_a_recipe_can_be_trained(name, runs, monkeypatch):
    """Each config is valid, with the arguments of its objectives and of its weighting."""
    monkeypatch.chdir(EGS / name)
    assert os.access("ablation.sh", os.X_OK)
    jobs = list(make_jobs(load_config(Ablation, "conf/ablation.yaml")))
    assert len({job.tag for job in jobs}) == len(jobs) >= runs
    for job in jobs:
        config = resolve(check_config(TrainConfig, job.config, job.tag))
        for phase in config.phase_list():
            for level in config.levels_of(phase):
                build_level(level, apart=False, reads={})


def test_a_row_is_finished_when_all_its_members_are(ablation, tmp_path):
    jobs = list(make_jobs(ablation))
    for job in jobs:
        if job.tag in ("joint_seed1", "alone_en_seed1", "alone_en_seed7", "alone_it_seed7"):
            finish(job, tmp_path)
    assert finished_runs(jobs, tmp_path) == {
        "joint": [[tmp_path / "joint_seed1"]],
        "alone": [[tmp_path / "alone_en_seed7", tmp_path / "alone_it_seed7"]],
    }


def test_the_recipe_is_called_and_its_exit_code_is_reported(ablation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no run.sh here"):
        call_recipe()
    script = tmp_path / "run.sh"
    script.write_text('#!/bin/sh\necho "$@" >>called\nexit "$(cat code)"\n')
    script.chmod(0o755)
    (tmp_path / "code").write_text("0")
    job = next(make_jobs(ablation))
    assert run_job(job, tmp_path / "exp")
    config = tmp_path / "exp/conf/joint_seed1.yaml"
    assert (tmp_path / "called").read_text().split() == [
        *("--stage", "tokens", "--expdir", str(tmp_path / "exp"), "--tag", "joint_seed1", "--train_config", str(config))
    ]
    assert yaml.safe_load(config.read_text()) == job.config
    (tmp_path / "code").write_text("3")
    with pytest.raises(UserError, match="exit code 3.*goes on from there"):
        run_job(job, tmp_path / "exp")
    (tmp_path / "code").write_text("130")
    with pytest.raises(KeyboardInterrupt):
        run_job(job, tmp_path / "exp")


def test_a_run_is_left_to_the_process_that_is_at_it(ablation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = next(make_jobs(ablation))
    with lock(tmp_path / "exp/conf/joint_seed1.lock"):
        assert not run_job(job, tmp_path / "exp")
    with pytest.raises(UserError, match="no run.sh here"):  # the lock is free now
        run_job(job, tmp_path / "exp")


@pytest.mark.parametrize(
    ("section", "key", "value", "changed"),
    [
        ("train", "hours", 2.0, "train.hours"),  # as in a quick look
        ("train", "average_best", 3, "train.average_best"),
        ("weighting", "step", 0.7, "weighting.step"),
        ("train", "workers", 4, None),
        ("train", "accumulation", 1, None),  # the default, written out
    ],
)
def test_a_run_of_another_config_is_named_and_not_used(tmp_path, monkeypatch, section, key, value, changed):
    monkeypatch.chdir(tmp_path)
    before = json.loads(json.dumps(recipe.CONFIG))
    before["train"] |= {"hours": 3.0, "epochs": None}
    after = json.loads(json.dumps(before))
    after[section][key] = value
    old, new = (Job("joint", "", 1, config) for config in (before, after))
    finish(old, tmp_path)
    assert config_changes([old], tmp_path) is None and finished_runs([old], tmp_path)
    if changed is None:
        assert config_changes([new], tmp_path) is None and finished_runs([new], tmp_path)
        return
    assert config_changes([new], tmp_path).startswith(f"{tmp_path}: joint_seed1 had other values of {changed}; restore them")
    assert finished_runs([new], tmp_path) == {}
    with pytest.raises(UserError, match=f"joint_seed1 had other values of {changed}"):
        run_job(new, tmp_path)
    assert config_changes([old], tmp_path) is None  # the file of its first config was not overwritten
    (tmp_path / "joint_seed1/results.json").unlink()  # nothing was trained: the config may change
    assert config_changes([new], tmp_path) is None
