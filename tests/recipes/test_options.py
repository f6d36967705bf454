"""Options of a recipe: valid options reach it, and every mistake is one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.recipes.conftest import Toy
from tests.recipes.recipe import ROOT, cpu_seconds

EVERYTHING = ["data", "tokens", "train", "decode"]


@pytest.mark.parametrize(
    "options",
    [
        ("--stage", "1", "--stop_stage", "2"),
        ("--stage=1", "--stop-stage=2"),
        ("--stage", "tokens", "--stop_stage", "train"),
        ("--stop-stage", "train", "--stage=tokens"),
    ],
)
def test_stages_by_number_or_name(toy: Toy, options: tuple[str, ...]) -> None:
    assert toy.run("--stop_stage", "0").returncode == 0
    result = toy.run(*options)
    assert result.returncode == 0, result.stderr
    assert toy.ran() == ["data", "tokens", "train"]


def test_values_reach_the_recipe_as_they_are(toy: Toy) -> None:
    (toy.folder / "my corpus").write_text("spaces\n")
    result = toy.run("--corpus", "my corpus", "--beam=7", "--tag", "a.b-c", "--expdir", "runs", "--set", "a.b=[1,2] c=x", "--set=d=$HOME")
    assert result.returncode == 0, result.stderr
    assert (toy.folder / "data/text").read_text() == "spaces\n"
    assert (toy.folder / "runs/a.b-c/hypotheses").read_text() == "beam 7\n"
    assert (toy.folder / "runs/a.b-c/model").read_text().split("\n") == ["a.b=[1,2]", "c=x", "d=$HOME", ""]


def test_changes_of_the_config_may_hold_spaces(toy: Toy) -> None:
    options = ("--set", "streams.raw.sets=[a, b] c=x", "--set", "phases=[{name: explore,\n  share: 0.2}]  d=5")
    assert toy.run(*options).returncode == 0
    expected = ["streams.raw.sets=[a, b]", "c=x", "phases=[{name: explore, share: 0.2}]", "d=5", ""]
    assert (toy.folder / "exp/train/model").read_text().split("\n") == expected
    result = toy.run("--dry_run", "--force", *options)
    assert '"streams.raw.sets=[a, b]" c=x "phases=[{name: explore, share: 0.2}]" d=5 >' in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bean", "4"], ["--bean", "--beam", "--corpus", "--stop_stage"]),
        (["--bean=4"], ["--bean", "--beam"]),
        (["extra"], ["extra", "--beam"]),
        (["-stage", "1"], ["-stage", "--stage"]),
        (["--tag"], ["--tag", "value"]),
        (["--tag", "--stage", "1"], ["--tag", "value"]),
        (["--stage", "9"], ["--stage 9", "0 data", "1 tokens", "2 train", "3 decode"]),
        (["--stop_stage", "trian"], ["--stop_stage trian", "2 train"]),
        (["--stage", "decode", "--stop_stage", "data"], ["--stop_stage data", "before"]),
        (["--nj", "many"], ["--nj", "many", "number"]),
        (["--beam=-1"], ["--beam", "-1", "number"]),
        (["--dry_run=maybe"], ["--dry_run", "maybe"]),
        (["--train_config", "conf/nope.yaml"], ["--train_config", "conf/nope.yaml", "conf/train.yaml"]),
        (["--tag", "../elsewhere"], ["--tag", "../elsewhere"]),
        (["--decode_config", "conf/other.yaml"], ["conf/other.yaml", "name: "]),
        (["--_given=x"], ["--_given"]),
        (["--PATH=/tmp"], ["--PATH"]),
        (["--root=/tmp"], ["--root"]),
        (["--=x"], ["unknown option"]),
    ],
)
def test_a_mistake_is_one_line_and_runs_nothing(toy: Toy, options: list[str], words: list[str]) -> None:
    start = cpu_seconds()
    result = toy.run(*options)
    assert cpu_seconds() - start < 1
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    assert all(word in result.stderr for word in words), result.stderr
    assert result.stdout == "" and toy.ran() == [] and not (toy.folder / "exp").exists()


@pytest.mark.parametrize(
    "option",
    ["--corpus=$(touch hacked)", "--corpus=`touch hacked`", "--tag=x;touch hacked", "--set=a=$(touch hacked)", "--beam=a[$(touch hacked)]",
     "--stage=a[$(touch hacked)]", "--a[$(touch hacked)]=1", "--$(touch hacked)=1", "--nj=x[$(touch hacked)]"],
)  # fmt: skip
def test_no_value_is_ever_executed(toy: Toy, option: str) -> None:
    toy.run(option)
    toy.run(option, "--dry_run")
    toy.run(option, "--help")
    assert not list(toy.folder.rglob("hacked"))


def test_the_environment_changes_no_default(toy: Toy) -> None:
    toy.environment |= {"beam": "99", "tag": "stray", "stage": "3", "corpus": "/nowhere", "force": "true"}
    assert toy.run().returncode == 0
    assert (toy.folder / "exp/train/hypotheses").read_text() == "beam 4\n"


def test_a_config_that_is_a_dangling_link_is_a_line(toy: Toy) -> None:
    (toy.folder / "conf/fbank.yaml").unlink()
    (toy.folder / "conf/fbank.yaml").symlink_to("../../TEMPLATE/conf/fbank.yaml")
    result = toy.run()
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "conf/fbank.yaml: a link to ../../TEMPLATE/conf/fbank.yaml, which is missing; copy recipes with cp -rL" in result.stderr


def test_help_tells_purpose_options_and_stages(toy: Toy) -> None:
    result = toy.run("--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Toy: four small stages.\n\n  ./run.sh --stage train\n")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["--beam", "4", "width", "of", "the", "search"] in lines
    assert ["--train_config", "conf/train.yaml", "config", "of", "the", "training"] in lines
    assert ["2", "train", "train"] in lines
    assert toy.ran() == []


def test_dry_run_prints_the_commands_and_runs_none(toy: Toy) -> None:
    before = sorted(toy.folder.rglob("*"))
    result = toy.run("--dry-run", "--beam", "9", "--stage", "tokens")
    assert result.returncode == 0
    assert 'cp "conf/train.yaml" "exp/train/tokens/config"' in result.stdout and 'echo "beam 9"' in result.stdout
    assert "cp corpus" not in result.stdout
    assert sorted(toy.folder.rglob("*")) == before


@pytest.mark.parametrize(("options", "processes"), [((), "1"), (("--nproc", "3"), "3"), (("--nproc=auto",), "auto")])
def test_a_recipe_trains_in_so_many_processes(options: tuple[str, ...], processes: str) -> None:
    recipe = ROOT / "egs/mini/run.sh"
    result = subprocess.run([recipe, "--dry_run", "--stage", "train", "--stop_stage", "train", *options], capture_output=True, text=True)
    assert result.returncode == 0 and f'--nproc "{processes}"' in result.stdout


def test_a_training_may_start_from_another_run(tmp_path: Path) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        line = [ROOT / "egs/mini/run.sh", "--dry_run", "--stage", "train", "--stop_stage", "train", "--init_from", *options]
        return subprocess.run(line, capture_output=True, text=True)

    model = tmp_path / "model.pt"
    model.touch()
    result = run(f"{model} encoder.=router. objectives.=")
    assert result.returncode == 0 and f"--init_from {model} encoder.=router. objectives.= " in " ".join(result.stdout.split())
    result = run("nowhere.pt")
    assert result.returncode == 2 and result.stderr == "error: --init_from nowhere.pt: no such file; give the model.pt of another run\n"
    result = run(str(model), "--pretrain_config", "conf/pretrain_cpc.yaml")
    assert result.returncode == 2 and "take --pretrain_config away" in result.stderr and result.stderr.count("\n") == 1


def test_without_setup_it_says_so(toy: Toy) -> None:
    (toy.folder.parents[1] / ".venv/.ready").unlink()
    result = toy.run()
    assert result.returncode == 2 and "make setup" in result.stderr
    assert toy.run("--help").returncode == 0


def test_it_runs_from_any_folder(toy: Toy) -> None:
    result = subprocess.run([toy.folder / "run.sh"], cwd="/", env=toy.environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert toy.ran() == EVERYTHING


def test_a_recipe_copied_out_of_egs_answers_help_and_dry_run(tmp_path: Path) -> None:
    """`cp -rL`, which copies the files that links point to."""
    (tmp_path / "utils").symlink_to(ROOT / "utils")
    ignored = shutil.ignore_patterns("data", "dump", "exp", "downloads")
    shutil.copytree(ROOT / "egs/librispeech", tmp_path / "egs/mine", symlinks=False, ignore=ignored)
    assert not any(path.is_symlink() for path in (tmp_path / "egs/mine").rglob("*"))
    for option in ("--help", "--dry_run"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        result = subprocess.run([tmp_path / "egs/mine/run.sh", option], env=environment, capture_output=True, text=True)
        assert result.returncode == 0 and result.stderr == "" and "fbank" in result.stdout, result.stderr


def test_every_recipe_is_short_and_answers_help_and_dry_run() -> None:
    recipes = sorted(ROOT.glob("egs/*/run.sh"))
    assert recipes
    for recipe in recipes:
        assert len(recipe.read_text().splitlines()) <= 100
        for option in ("--help", "--dry_run"):
            result = subprocess.run([recipe, option], capture_output=True, text=True)
            assert result.returncode == 0 and result.stderr == "", result.stderr
            assert all(name in result.stdout for name in ("data", "fbank", "tokens", "pretrain", "train", "decode", "score"))


def test_commands_of_wav_scp_are_allowed_for_features_and_training() -> None:
    for options, count in (((), 0), (("--allow_pipes",), 4)):
        command = ["./run.sh", "--dry_run", "--stage", "fbank", *options]
        result = subprocess.run(command, cwd=ROOT / "egs/TEMPLATE", capture_output=True, text=True, check=True)
        lines = " ".join(result.stdout.splitlines()).split("python -m m2asr.bin.")
        allowed = [line.split()[0] for line in lines if " --allow_pipes " in line.replace("--command", "\n").split("\n")[0] + " "]
        assert allowed == ["fbank", "train", "train", "train"][:count]
