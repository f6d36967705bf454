"""Real training processes: killed at random moments, resumed bit for bit, and stopped with one clear line."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from m2asr.config import FbankConfig
from m2asr.train.checkpoint import FORMAT
from m2asr.train.initialize import trained_fbank
from tests.train import recipe


@pytest.fixture(scope="module")
def whole(mini_data: Path, mini_dump: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbs."""
    exp = tmp_path_factory.mktemp("whole") / "exp"
    config = recipe.prepare(exp, mini_data, recipe.SMALL)
    done = recipe.train(exp, config, mini_data, mini_dump)
    assert done.returncode == 0, done.stderr
    return exp


def run(exp: Path, mini_data: Path, mini_dump: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return recipe.train(exp, exp / "given.yaml", mini_data, mini_dump, *more)


def losses(exp: Path) -> list[dict]:
    """What the log says of losses and weights, without times."""
    lines = [json.loads(line) for line in (exp / "train.jsonl").read_text().splitlines()]
    return [{key: line.get(key) for key in ("kind", "step", "loss", "metrics", "lambda", "gamma", "conflict", "select")} for line in lines]


def start_from(whole: Path, tmp_path: Path) -> Path:
    exp = tmp_path / "exp"
    shutil.copytree(whole, exp, ignore=shutil.ignore_patterns("checkpoints", "*.pt", "train.jsonl", "tensorboard", "plots"))
    return exp


def test_killed_runs_go_on_bit_for_bit(whole, mini_data, mini_dump, tmp_path):
    exp = start_from(whole, tmp_path)
    moments = random.Random(1)
    command = recipe.train_command(exp, exp / "given.yaml", mini_data, mini_dump)
    killed = 0
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (exp / "train.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(moments.uniform(0.2, 2.0))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed, "every run had ended before it was killed"
    done = run(exp, mini_data, mini_dump)
    assert done.returncode == 0, done.stderr
    one, other = (torch.load(path / "model.pt", weights_only=True)["model"] for path in (whole, exp))
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    assert losses(exp) == losses(whole)


def test_a_finished_run_is_left_as_it_is(whole, mini_data, mini_dump):
    before = (whole / "model.pt").read_bytes()
    done = run(whole, mini_data, mini_dump)
    assert done.returncode == 0, done.stderr
    assert "already trained" in done.stdout
    assert torch.equal(
        torch.load(whole / "model.pt", weights_only=True)["model"]["mean"],
        torch.load(whole / "checkpoints/last.pt", weights_only=True)["model"]["mean"],
    )
    assert len(before) == len((whole / "model.pt").read_bytes())


def test_the_run_tells_what_it_did(whole):
    lines = losses(whole)
    train = [line for line in lines if line["kind"] == "train"]
    assert {"asr_en", "st_en_it", "cpc"} <= train[-1]["loss"].keys()
    assert train[-1]["loss"]["asr_en"] < train[0]["loss"]["asr_en"]
    assert sum(train[-1]["lambda"].values()) == pytest.approx(1)
    assert train[-1]["gamma"]["cpc"] > 0
    assert train[-1]["conflict"]["names"] == ["asr_en", "st_en_it", "cpc"]
    dev = [line for line in lines if line["kind"] == "dev"]
    assert [line["metrics"]["asr_en"]["error"] is not None for line in dev] == [True, True]
    assert 0 < dev[-1]["metrics"]["cpc"]["chance"] < 1
    for name in ("losses", "weights", "cosines", "conflicts"):
        assert (whole / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert list((whole / "tensorboard").glob("events*"))


def test_another_model_or_data_cannot_go_on_here(whole, mini_data, mini_dump):
    done = run(whole, mini_data, mini_dump, "--set", "model.encoder.blocks=2", "optim.lr.heads=0.1")
    assert done.returncode == 1
    assert "model.encoder.blocks" in done.stderr and "optim.lr.heads" in done.stderr and "--tag" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_more_epochs_may_follow(whole, mini_data, mini_dump, tmp_path):
    exp = tmp_path / "exp"
    shutil.copytree(whole, exp)
    state = torch.load(exp / "checkpoints/last.pt", weights_only=True)
    done = run(exp, mini_data, mini_dump, "--set", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    after = torch.load(exp / "checkpoints/last.pt", weights_only=True)
    assert after["number"] > state["number"]


def test_checkpoints_from_before_a_key_was_there_go_on(whole, mini_data, mini_dump, tmp_path):
    """A key that is new since then had its default."""
    exp = tmp_path / "exp"
    shutil.copytree(whole, exp)
    state = torch.load(exp / "checkpoints/last.pt", weights_only=True)
    for objective in state["config"]["objectives"].values():
        del objective["lead"], objective["decode"]
        objective.pop("per", None)  # an option of its type
    torch.save(state, exp / "checkpoints/last.pt")
    done = run(exp, mini_data, mini_dump, "--set", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    assert torch.load(exp / "checkpoints/last.pt", weights_only=True)["number"] > state["number"]


def test_a_budget_of_audio_ends_within_an_epoch(whole, mini_data, mini_dump, tmp_path):
    """Training stops at the first step that fills the budget, with dev scores and a model; and goes on to a larger one."""
    exp = start_from(whole, tmp_path)
    done = run(exp, mini_data, mini_dump, "--set", "train.epochs=null", "train.hours=0.1")
    assert done.returncode == 0, done.stderr
    state = torch.load(exp / "checkpoints/last.pt", weights_only=True)
    steps = state["number"]
    assert 0.1 * 3600 <= state["audio_seconds"] < 0.1 * 3600 * (1 + 2 / steps)
    lines = [json.loads(line) for line in (exp / "train.jsonl").read_text().splitlines()]
    assert lines[-1]["kind"] == "dev" and lines[-1]["step"] == steps
    assert lines[-2]["lr"]["backbone"] < lines[-3]["lr"]["backbone"] and lines[-2]["gamma"]["cpc"] > 0.18  # schedules end with the budget
    assert (exp / "model.pt").is_file() and trained_fbank(exp) == FbankConfig()  # all that recordings need to become text
    done = run(exp, mini_data, mini_dump, "--set", "train.epochs=null", "train.hours=0.13")
    assert done.returncode == 0, done.stderr
    assert torch.load(exp / "checkpoints/last.pt", weights_only=True)["audio_seconds"] >= 0.13 * 3600


def test_a_half_written_checkpoint_falls_back_to_the_one_before(whole, mini_data, mini_dump, tmp_path):
    exp = tmp_path / "exp"
    shutil.copytree(whole, exp)
    last = exp / "checkpoints/last.pt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    done = run(exp, mini_data, mini_dump)
    assert done.returncode == 0, done.stderr
    assert "last.pt: damaged or half-written" in done.stderr and "previous.pt" in done.stderr
    assert losses(exp) == losses(whole)


def test_missing_stages_are_named(whole, mini_data, mini_dump, tmp_path):
    exp = start_from(whole, tmp_path)
    done = run(exp, tmp_path / "nothing", mini_dump)
    assert done.returncode == 1 and "stage 0" in done.stderr
    done = run(exp, mini_data, tmp_path / "nothing")
    assert done.returncode == 1 and "stage 1" in done.stderr
    shutil.rmtree(exp / "tokens")
    done = run(exp, mini_data, mini_dump)
    assert done.returncode == 1 and "stage 2" in done.stderr


def test_ctrl_c_is_one_line_and_loses_nothing(whole, mini_data, mini_dump, tmp_path):
    exp = start_from(whole, tmp_path)
    command = recipe.train_command(exp, exp / "given.yaml", mini_data, mini_dump)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (exp / "checkpoints/last.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in errors
    torch.load(exp / "checkpoints/last.pt", weights_only=True)


class Hostile:
    """Runs a command when it is unpickled by a careless reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def fresh(whole: Path, tmp_path: Path, mini_data: Path, mini_dump: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run(start_from(whole, tmp_path), mini_data, mini_dump, *more)


def test_starting_from_another_run(whole, mini_data, mini_dump, tmp_path):
    done = fresh(whole, tmp_path, mini_data, mini_dump, "--init_from", str(whole / "model.pt"), "--set", "train.epochs=1")
    assert done.returncode == 0, done.stderr
    assert f"started from {whole / 'model.pt'}" in done.stdout


def test_starting_from_another_model_names_the_parameter(whole, mini_data, mini_dump, tmp_path):
    done = fresh(whole, tmp_path, mini_data, mini_dump, "--init_from", str(whole / "model.pt"), "--set", "model.encoder.dim=48")
    assert done.returncode == 1
    assert "encoder." in done.stderr and "same model.encoder" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_hostile_pickle_is_refused_and_not_run(whole, mini_data, mini_dump, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "hostile.pt"
    torch.save({"format": FORMAT, "model": Hostile(trace)}, path)
    done = fresh(whole, tmp_path, mini_data, mini_dump, "--init_from", str(path))
    assert done.returncode == 1 and "refused" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not trace.exists()


@pytest.mark.parametrize(
    "change, expected",
    [
        ("optim.warmup_step=3", "warmup_steps"),
        ("objectives.asr_en.tap=5", "objectives.asr_en"),
        ("objectives.asr_en.per=word", "per"),
        ("weighting.type=mdo", "modo"),
        ("objectives.asr_en.stream=enn", "did you mean `en`"),
        ("objectives.asr_en.text=text.fr", "text.fr"),
        ("penalty=null", "penalty"),
    ],
)
def test_config_mistakes_are_one_line(whole, mini_data, mini_dump, tmp_path, change, expected):
    done = fresh(whole, tmp_path, mini_data, mini_dump, "--set", change)
    assert done.returncode == 1, done.stderr
    assert expected in done.stderr and len(done.stderr.strip().splitlines()) == 1
