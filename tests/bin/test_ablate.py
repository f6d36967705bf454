"""The command ablate: the folders of its runs, and the input that it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.bin import ablate
from m2asr.errors import UserError
from tests.conftest import ROOT
from tests.train import recipe


@pytest.fixture
def exp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder exp/ of a recipe whose training leaves a checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ablation.yaml").write_text("hours: 10\nseeds: [1]\nrows: {joint: {base: base.yaml}}\n")
    write_base(0.1)
    (tmp_path / "run.sh").write_text('#!/bin/sh\n[ "$1" != --stage ] || mkdir -p "$4/$6/checkpoints"\n')
    (tmp_path / "run.sh").chmod(0o755)
    return tmp_path / "exp"


def write_base(start: float) -> None:
    config = {**recipe.CONFIG, "penalty": {"start": start}}
    Path("base.yaml").write_text(str(config).replace("'", '"'), encoding="utf-8")  # this is YAML too


def run(*options: str) -> None:
    """Run the ablation, which ends with an error since no run is scored here."""
    with pytest.raises(UserError, match="no run in this folder is finished yet"):
        ablate.main(["--config", "ablation.yaml", "--jobs", "1", *options])


def hours(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if "hours" in line]


def test_other_hours_have_a_folder_of_their_own(exp):
    run("--set", "hours=2")
    assert hours(exp / "ablation_2h/conf/joint_seed1.yaml") == ["hours: 2.0"] and not (exp / "ablation").exists()
    run()
    assert hours(exp / "ablation/conf/joint_seed1.yaml") == ["hours: 10.0"]
    run("--set", "hours=10")
    assert {path.name for path in exp.iterdir() if path.is_dir()} == {"ablation", "ablation_2h"}


def test_options_of_the_recipe_are_given_to_every_run(exp):
    """Features are computed of the config that `options` name; every row is trained with its own."""
    (exp.parent / "run.sh").write_text('#!/bin/sh\necho "$@" >>calls\n')
    run("--set", "options={langs: en cs, train_config: conf/all.yaml}")
    first, second = (exp.parent / "calls").read_text().splitlines()
    assert first == "--stop_stage fbank --langs en cs --train_config conf/all.yaml"
    assert second.startswith("--stage tokens") and second.endswith("--train_config exp/ablation/conf/joint_seed1.yaml --langs en cs")


def test_a_row_that_was_changed_is_refused_and_left_out_of_the_table(exp, capsys):
    run()
    write_base(0.2)
    with pytest.raises(UserError, match="ablation: joint_seed1 had other values of penalty.start; restore them, remove the folders"):
        ablate.main(["--config", "ablation.yaml"])
    run("--table")
    assert "warning: exp/ablation: joint_seed1 had other values of penalty.start" in capsys.readouterr().err


def test_runs_at_the_same_time_share_the_runs(exp, monkeypatch):
    """Every run is trained once. The output of the second process goes to a file, which the message names when that process fails."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    work = 'echo "$6" >>calls; sleep 1; mkdir -p "$4/$6/checkpoints"'
    (exp.parent / "run.sh").write_text(f'#!/bin/sh\n[ "$1" != --stage ] || [ -d "$4/$6" ] || {{ {work}; }}\n')
    with pytest.raises(UserError, match="a run failed, see the end of exp/ablation/log/process2.log"):
        ablate.main(["--config", "ablation.yaml", "--set", "seeds=[1, 2, 3, 4]", "--jobs", "2"])
    assert "no run in this folder is finished yet" in (exp / "ablation/log/process2.log").read_text()
    calls = (exp.parent / "calls").read_text().split()
    assert sorted(calls) == [f"joint_seed{seed}" for seed in (1, 2, 3, 4)]


def test_a_number_of_runs_below_zero_is_refused(exp):
    with pytest.raises(UserError, match="--jobs: give a whole number from 0 .*'-1'"):
        ablate.main(["--config", "ablation.yaml", "--jobs", "-1"])
