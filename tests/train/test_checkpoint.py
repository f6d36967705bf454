"""Checkpoints: whole or absent, data only, and a clear line for every file that cannot be used."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from m2asr.errors import UserError
from m2asr.train import checkpoint
from m2asr.train.checkpoint import BestCheckpoints, Damaged


def state(number: int) -> dict:
    return {"number": number, "model": {"w": torch.full((40, 50), float(number))}, "config": {"a": [1, None, "x"], "b": True}}


def newest(folder) -> int:
    return checkpoint.load_latest(folder)["number"]


def test_the_newest_two_are_kept(tmp_path):
    assert checkpoint.load_latest(tmp_path) is None
    for number in (1, 2, 3):
        checkpoint.save(tmp_path, state(number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]
    assert (newest(tmp_path), checkpoint.load(tmp_path / "previous.pt")["number"]) == (3, 2)
    loaded = checkpoint.load(tmp_path / "last.pt")
    assert torch.equal(loaded["model"]["w"], state(3)["model"]["w"]) and loaded["config"] == state(3)["config"]


@pytest.mark.parametrize("calls", range(1, 5))
def test_a_crash_between_any_two_file_operations_leaves_a_whole_checkpoint(tmp_path, monkeypatch, calls):
    checkpoint.save(tmp_path, state(1))
    checkpoint.save(tmp_path, state(2))
    left = calls

    def crash_at(name):
        real = getattr(os, name)

        def operation(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return operation

    for name in ("link", "fsync", "replace"):
        monkeypatch.setattr(os, name, crash_at(name))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, state(3))
    monkeypatch.undo()
    assert newest(tmp_path) == (3 if calls == 4 else 2)  # the fourth is the renaming of previous.pt, after last.pt
    checkpoint.save(tmp_path, state(4))
    assert newest(tmp_path) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]


def test_what_a_killed_process_left_is_cleared(tmp_path):
    checkpoint.save(tmp_path, state(1))
    (tmp_path / ".last.pt.4711.tmp").write_bytes(b"half")
    checkpoint.save(tmp_path, state(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]


def test_file_systems_without_hard_links_work_too(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    checkpoint.save(tmp_path, state(1))
    checkpoint.save(tmp_path, state(2))
    assert (newest(tmp_path), checkpoint.load(tmp_path / "previous.pt")["number"]) == (2, 1)


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from m2asr.bin.command import run
from m2asr.train import checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
run(lambda _: checkpoint.save(Path(sys.argv[1]), {"number": 2, "model": {"w": torch.randn(1000, 1000)}}))
"""


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    checkpoint.save(tmp_path, state(1))
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(tmp_path / "last.pt") in done.stderr and "MB free" in done.stderr
    assert newest(tmp_path) == 1


def test_cut_off_anywhere_is_damaged(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.write(path, state(1))
    data = path.read_bytes()
    for size in [*range(0, 200, 7), *range(200, len(data), 331), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match="last.pt: (damaged or half-written|not a checkpoint)"):
            checkpoint.load(path)
    path.write_bytes(bytes(len(data)))  # what some file systems leave after a power cut
    with pytest.raises(Damaged):
        checkpoint.load(path)


def test_a_changed_byte_is_damaged(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.write(path, state(1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # inside the weights, where torch.load sees nothing wrong
    path.write_bytes(data)
    with pytest.raises(Damaged, match="damaged"):
        checkpoint.load(path)


def test_a_damaged_last_one_gives_way_to_the_one_before(tmp_path, capsys):
    for number in (1, 2):
        checkpoint.save(tmp_path, state(number))
    last = tmp_path / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    assert newest(tmp_path) == 1
    warning = capsys.readouterr().err
    assert "last.pt: damaged" in warning and "previous.pt" in warning
    (tmp_path / "previous.pt").unlink()
    with pytest.raises(Damaged, match="last.pt"):
        checkpoint.load_latest(tmp_path)


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("dump", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))], ids=["torch", "pickle"])
def test_code_is_refused_and_not_run(tmp_path, dump):
    checkpoint.save(tmp_path, state(1))
    checkpoint.save(tmp_path, state(2))
    dump({"format": checkpoint.FORMAT, "model": Hostile(tmp_path / "ran")}, tmp_path / "last.pt")
    with pytest.raises(UserError) as error:
        checkpoint.load_latest(tmp_path)  # not passed over in favour of previous.pt
    assert "last.pt" in str(error.value) and "\n" not in str(error.value)
    assert "weights_only" not in str(error.value), "nobody is to be told how to switch the protection off"
    assert not (tmp_path / "ran").exists()


def test_other_files_are_named_as_such(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(UserError, match="No such file"):
        checkpoint.load(path)
    path.write_text("hello, this is text")
    with pytest.raises(UserError, match="not a checkpoint of this toolkit"):
        checkpoint.load(path)
    torch.save({"w": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="not a checkpoint of this toolkit"):
        checkpoint.load(path)


def test_values_that_could_not_be_read_back_are_not_written(tmp_path):
    for bad in (np.float64(1.0), tmp_path, np.zeros(2), {1, 2}):
        with pytest.raises(TypeError, match=r"state\.rng\.0"):
            checkpoint.write(tmp_path / "last.pt", {"rng": [bad]})
    assert not list(tmp_path.iterdir())


def test_weights_of_another_model_are_named(tmp_path):
    weights = nn.Linear(3, 4).state_dict()
    module = nn.Linear(3, 4)
    checkpoint.load_weights(module, weights, tmp_path)
    assert torch.equal(module.weight, weights["weight"])
    with pytest.raises(UserError, match=r"weight is \(4, 3\) there and \(4, 2\) here"):
        checkpoint.load_weights(nn.Linear(2, 4), weights, tmp_path)
    with pytest.raises(UserError, match="bias is not in this model"):
        checkpoint.load_weights(nn.Linear(3, 4, bias=False), weights, tmp_path)
    with pytest.raises(UserError, match="bias is missing"):
        checkpoint.load_weights(nn.Linear(3, 4), {"weight": weights["weight"]}, tmp_path)


def test_best_epochs(tmp_path):
    best = BestCheckpoints(tmp_path, 2)
    for epoch, score in enumerate([math.nan, 0.5, 0.7, 0.5, 0.9, math.nan], start=1):
        best.add(epoch, score, {"w": torch.tensor(float(epoch))}, {})
        best.clean()
    assert best.ranking() == [4, 2]  # of equal scores the later comes first; not-a-number never wins
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch2.pt", "epoch4.pt"]
    again = BestCheckpoints(tmp_path, 2)
    again.load_state_dict(best.state_dict())
    assert again.scores == best.scores
    assert checkpoint.load(again.path(4))["model"]["w"] == 4


def test_an_epoch_that_fell_out_stays_until_the_checkpoint_is_written(tmp_path):
    best = BestCheckpoints(tmp_path, 1)
    best.add(1, 0.5, {"w": torch.zeros(1)}, {})
    best.add(2, 0.4, {"w": torch.zeros(1)}, {})
    assert best.path(1).exists(), "a run killed here goes on from a checkpoint that still names epoch 1"
    best.clean()
    assert not best.path(1).exists() and best.path(2).exists()


def test_epochs_without_any_score_can_still_be_averaged(tmp_path):
    best = BestCheckpoints(tmp_path, 2)
    for epoch in (1, 2, 3):
        best.add(epoch, math.nan, {"w": torch.zeros(1)}, {})
    assert len(best.ranking()) == 2


def test_a_resumed_ranking_of_scores_that_are_not_numbers_is_the_same(tmp_path: Path) -> None:
    """NaN read from a file is another object than math.nan, and compares differently in a tuple."""
    best = BestCheckpoints(tmp_path / "once", 2)
    resumed = BestCheckpoints(tmp_path / "resumed", 2)
    for epoch in range(1, 6):
        best.add(epoch, math.nan, {"w": torch.zeros(1)}, {})
        resumed.add(epoch, math.nan, {"w": torch.zeros(1)}, {})
        resumed.load_state_dict({key: float(str(score)) for key, score in resumed.state_dict().items()})
    assert best.ranking() == resumed.ranking() == [5, 4]
