"""Averages are exact, and made of the epochs with the best scores."""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.train import checkpoint
from m2asr.train.average import average
from tests.conftest import command


def write(path, weights):
    checkpoint.write(path, {"model": weights, "config": {"name": path.stem}})
    return path


def test_floats_are_averaged_and_whole_numbers_taken_from_the_last(tmp_path):
    torch.manual_seed(0)
    values = torch.randn(3, 50, 20)
    paths = [write(tmp_path / f"epoch{i}.pt", {"w": values[i], "steps": torch.tensor(i), "h": values[i].bfloat16()}) for i in range(3)]
    average(paths, tmp_path / "model.pt")
    state = checkpoint.load(tmp_path / "model.pt")
    mean = state["model"]
    assert torch.equal(mean["w"], values.double().mean(0).float()) and mean["w"].dtype == torch.float32
    assert mean["h"].dtype == torch.bfloat16
    assert mean["steps"] == 2 and state["config"] == {"name": "epoch2"}


def test_equal_weights_and_single_epochs_keep_their_bits(tmp_path):
    weights = {"w": torch.randn(100), "mean": torch.randn(5)}
    paths = [write(tmp_path / f"epoch{i}.pt", weights) for i in range(5)]
    for chosen in (paths, paths[:1]):
        average(chosen, tmp_path / "model.pt")
        mean = checkpoint.load(tmp_path / "model.pt")["model"]
        assert all(torch.equal(mean[key], weights[key]) for key in weights)


def test_other_models_and_missing_files_are_named_and_the_old_model_stays(tmp_path):
    first = write(tmp_path / "epoch1.pt", {"w": torch.zeros(2)})
    average([first], tmp_path / "model.pt")
    before = (tmp_path / "model.pt").read_bytes()
    other = write(tmp_path / "epoch2.pt", {"w": torch.zeros(3)})
    for paths, message in (
        ([first, other], "epoch2.pt"),
        ([first, tmp_path / "epoch3.pt"], "epoch3.pt: cannot read: No such file"),
        ([], "at least one epoch"),
    ):
        with pytest.raises(UserError, match=message):
            average(paths, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == before


def test_the_command_averages_the_best_and_prints_them(tmp_path):
    folder = tmp_path / "checkpoints"
    best = checkpoint.BestCheckpoints(folder, 3)
    for epoch, score in ((1, 0.4), (2, 0.9), (3, 0.2), (4, 0.3)):
        best.add(epoch, score, {"w": torch.tensor([float(epoch)])}, {})
    checkpoint.save(folder, {"best": best.state_dict()})
    done = command("average", "--exp", tmp_path, "--n", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["epoch 3: score 0.2000", "epoch 4: score 0.3000"]
    assert checkpoint.load(tmp_path / "model.pt")["model"]["w"] == 3.5
    done = command("average", "--exp", tmp_path, "--n", 7)
    assert done.returncode == 1 and "--n 7" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    done = command("average", "--exp", tmp_path / "nothing")
    assert done.returncode == 1 and "stage 4" in done.stderr
