"""Options of a recipe: what a user may write, and one line about everything else."""

from __future__ import annotations

import subprocess

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
    done = toy.run(*options)
    assert done.returncode == 0, done.stderr
    assert toy.ran() == ["data", "tokens", "train"]


def test_values_reach_the_recipe_as_they_are(toy: Toy) -> None:
    (toy.folder / "my corpus").write_text("spaces\n")
    done = toy.run("--corpus", "my corpus", "--beam=7", "--tag", "a.b-c", "--expdir", "runs", "--set", "a.b=[1,2] c=x", "--set=d=$HOME")
    assert done.returncode == 0, done.stderr
    assert (toy.folder / "data/text").read_text() == "spaces\n"
    assert (toy.folder / "runs/a.b-c/hypotheses").read_text() == "beam 7\n"
    assert (toy.folder / "runs/a.b-c/model").read_text().split("\n") == ["a.b=[1,2]", "c=x", "d=$HOME", ""]


def test_changes_of_the_config_may_hold_spaces(toy: Toy) -> None:
    options = ("--set", "streams.raw.sets=[a, b] c=x", "--set", "phases=[{name: explore,\n  share: 0.2}]  d=5")
    assert toy.run(*options).returncode == 0
    expected = ["streams.raw.sets=[a, b]", "c=x", "phases=[{name: explore, share: 0.2}]", "d=5", ""]
    assert (toy.folder / "exp/train/model").read_text().split("\n") == expected
    done = toy.run("--dry_run", "--force", *options)
    assert '"streams.raw.sets=[a, b]" c=x "phases=[{name: explore, share: 0.2}]" d=5 >' in done.stdout


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
    done = toy.run(*options)
    assert cpu_seconds() - start < 1
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stdout == "" and toy.ran() == [] and not (toy.folder / "exp").exists()


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


def test_help_tells_purpose_options_and_stages(toy: Toy) -> None:
    done = toy.run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Toy: four small stages.\n\n  ./run.sh --stage train\n")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["--beam", "4", "width", "of", "the", "search"] in lines
    assert ["--train_config", "conf/train.yaml", "config", "of", "the", "training"] in lines
    assert ["2", "train", "train"] in lines
    assert toy.ran() == []


def test_dry_run_prints_the_commands_and_runs_none(toy: Toy) -> None:
    before = sorted(toy.folder.rglob("*"))
    done = toy.run("--dry-run", "--beam", "9", "--stage", "tokens")
    assert done.returncode == 0
    assert 'cp "conf/train.yaml" "exp/train/tokens/config"' in done.stdout and 'echo "beam 9"' in done.stdout
    assert "cp corpus" not in done.stdout
    assert sorted(toy.folder.rglob("*")) == before


def test_without_setup_it_says_so(toy: Toy) -> None:
    (toy.folder.parents[1] / ".venv/.ready").unlink()
    done = toy.run()
    assert done.returncode == 2 and "make setup" in done.stderr
    assert toy.run("--help").returncode == 0


def test_it_runs_from_any_folder(toy: Toy) -> None:
    done = subprocess.run([toy.folder / "run.sh"], cwd="/", env=toy.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert toy.ran() == EVERYTHING


def test_every_recipe_is_short_and_answers_help_and_dry_run() -> None:
    recipes = sorted(ROOT.glob("egs/*/run.sh"))
    assert recipes
    for recipe in recipes:
        assert len(recipe.read_text().splitlines()) <= 100
        for option in ("--help", "--dry_run"):
            done = subprocess.run([recipe, option], capture_output=True, text=True)
            assert done.returncode == 0 and done.stderr == "", done.stderr
            assert all(name in done.stdout for name in ("data", "fbank", "tokens", "pretrain", "train", "decode", "score"))
