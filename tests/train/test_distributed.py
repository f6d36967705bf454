"""Several processes: real ones, through shared memory and over gloo. They compute what one would, move little, and end together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from m2asr.config import load_config
from m2asr.moo.collectives import Collectives
from m2asr.objectives.build import resolve
from m2asr.train import shared_memory
from m2asr.train.evaluate import evaluate
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT
from tests.train import pair, recipe

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """The steps in one process, and the folder that holds them."""
    folder = tmp_path_factory.mktemp("pair")
    single = pair.everything(Collectives(), folder)
    torch.save(single, folder / "single.pt")
    return single, folder


@pytest.fixture(scope="module", params=["SharedMemory", "ProcessGroup"])
def found(alone: tuple[dict, Path], request: pytest.FixtureRequest) -> tuple[dict, list[dict]]:
    """The same steps in one process, and in each of two that are joined in this way."""
    single, folder = alone
    done = subprocess.run([*TORCHRUN, "-m", "tests.train.pair", folder, request.param], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ranks = [torch.load(folder / f"{rank}.pt") for rank in range(2)]
    if ranks[0]["group"] != request.param:
        pytest.skip(f"{shared_memory.FOLDER} has no room for a group of the kind {request.param}")
    return single, ranks


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal within 1e-9 of the length."""
    return float((one - other).detach().norm()) <= 1e-9 * float(other.detach().norm()) + 1e-15


def check(ours: dict, single: dict) -> None:
    """One process's step of two is that of a single process."""
    encoder = [name for name in single["gradients"] if name.startswith("encoder.")]
    merged = [torch.cat([one["gradients"][name].flatten() for name in encoder]) for one in (ours, single)]
    assert merged[1].norm() > 0 and close(*merged)
    assert ours["gradients"].keys() == single["gradients"].keys()
    for name, gradient in single["gradients"].items():
        assert name in encoder or close(ours["gradients"][name], gradient), name
    assert close(ours["gramian"], single["gramian"])
    assert ours["weights"] == pytest.approx(single["weights"], rel=1e-7, abs=1e-9)
    assert ours["inactive"] == single["inactive"] and ours["seconds"] == pytest.approx(single["seconds"], rel=1e-12)
    for name, (total, weight) in single["losses"].items():
        assert ours["losses"][name] == (pytest.approx(total, rel=1e-12), weight)
    for name, metrics in single["metrics"].items():
        assert {key: pytest.approx(pair, rel=1e-9) for key, pair in metrics.items()} == ours["metrics"][name]
    if single["conflicts"] is not None:
        assert close(ours["conflicts"], single["conflicts"])
        assert torch.allclose(ours["cross"], single["cross"], rtol=1e-7, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("kind", pair.WEIGHTINGS)
def test_two_processes_compute_what_one_does(found, kind):
    single, ranks = found
    for number in range(pair.STEPS):
        for rank in ranks:
            check(rank[kind][number], single[kind][number])


def test_numbers_of_two_types_travel_together(found):
    _, ranks = found
    for rank, (gradient, part) in enumerate(one["mixed"] for one in ranks):
        assert gradient.tolist() == [2, 4, 6] and part.tolist() == [[0, 2], [4, 6]][rank]


def test_processes_with_zeros_only_add_nothing(found):
    _, ranks = found
    for rank, rows in enumerate(one["zeros"] for one in ranks):
        expected = torch.tensor([[1.0, 3.0, 5.0, 7.0], [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])[:, 2 * rank : 2 * rank + 2]
        assert torch.equal(torch.stack(rows), expected)


@pytest.mark.parametrize(("kind", "known"), [("mgda", 2), ("moco", 2), ("modo3", 2), ("modo2", 4)])
def test_processes_measure_independent_batches_together(found, kind, known):
    """Halves of the stream y, whose utterances are in both processes; of MoDo both batches, and halves of raw. `check` compares them."""
    single, ranks = found
    for measured in (single[kind][1], *(rank[kind][1] for rank in ranks)):
        assert int((~measured["cross"][-1].diagonal().isnan()).sum()) == known


@pytest.mark.parametrize("kind", pair.WEIGHTINGS)
def test_all_processes_end_with_the_same_bits(found, kind):
    _, (one, other) = found
    for mine, theirs in zip(one[kind], other[kind], strict=True):
        assert mine["weights"] == theirs["weights"] and mine["losses"] == theirs["losses"]
        assert torch.equal(mine["gramian"], theirs["gramian"])
        for name, gradient in mine["gradients"].items():
            assert torch.equal(gradient, theirs["gradients"][name]), name


@pytest.mark.parametrize("kind", ["static", "modo2", "spread", "teacher"])
def test_muon_moves_two_processes_as_one(found, kind):
    single, (one, other) = found
    start = pair.make(kind, Collectives()).system.state_dict()
    assert not torch.equal(single["muon"][kind]["encoder.blocks.0.attention.qkv.weight"], start["encoder.blocks.0.attention.qkv.weight"])
    assert any("average" in name for name in start) == (kind == "teacher")
    for name, weight in single["muon"][kind].items():
        assert torch.equal(one["muon"][kind][name], other["muon"][kind][name]), name
        assert close(one["muon"][kind][name] - start[name], weight - start[name]), name


@pytest.mark.parametrize(
    ("kind", "vectors"),
    [("static", 1), ("mgda", 3 + 1), ("moco", 3 + 1), ("features", 2 + 1), ("modo2", 2 * 3 + 1), ("modo3", 3 + 2 + 1)],
    ids=["static", "mgda", "moco", "features", "modo2", "modo3"],
)
def test_gradients_move_less_than_in_all_reduces(found, kind, vectors):
    """N vectors of P elements: N reduce-scatters and one all-gather; an all-reduce is one of each, 2 N P in all."""
    _, ranks = found
    for rank in ranks:
        for one in rank[kind][:1]:  # the second is measured
            naive = 2 * vectors * one["columns"]
            assert one["moved"]["reduce_scatter"] == vectors * one["columns"]
            assert (one["moved"]["reduce_scatter"] + one["moved"]["all_gather"]) / naive == (vectors + 1) / (2 * vectors)
            heads = sum(value.numel() + 1 for name, value in one["gradients"].items() if not name.startswith("encoder."))
            assert one["moved"]["all_reduce"] - heads < 500  # inner products


@pytest.mark.parametrize("case", ["absent", "untranslated", "unheard"])
def test_an_objective_that_one_process_has_is_trained_in_both(found, case):
    single, ranks = found
    for rank in ranks:
        for one, alone in zip(rank[case], single[case], strict=True):
            assert one["inactive"] == [] and one["gradients"]["objectives.st_y.output.weight"].abs().sum() > 0
            check(one, alone)


def test_states_that_stay_are_not_moved(found):
    single, ranks = found
    assert single["volume"] == (0, 0)
    for rank in ranks:
        moved, expected = rank["volume"]
        assert moved == expected > 0


def test_processes_know_how_many_share_their_machine(found):
    single, ranks = found
    assert single["local"] == 1 and [rank["local"] for rank in ranks] == [2, 2]


def test_without_any_target_no_process_moves(found):
    single, ranks = found
    for one in (*single["nothing"], *ranks[0]["nothing"], *ranks[1]["nothing"]):
        assert one["idle"] and one["problem"] is None and one["gradients"] == {}


def test_not_a_number_in_one_process_is_skipped_in_both(found):
    single, ranks = found
    for rank in ranks:
        before, broken, after = rank["broken"]
        assert before["problem"] is None and after["problem"] is None
        assert broken["problem"] == ranks[0]["broken"][1]["problem"] and "asr_y" in broken["problem"] and "utt0" in broken["problem"]
        check(after, single["broken"][2])


def test_tracked_gradients_move_between_process_counts(found):
    single, ranks = found
    for name, row in single["state"]["tracked"].items():
        assert close(ranks[0]["state"]["tracked"][name], row)
    for rank in ranks:
        check(rank["resumed"], single["after"])
    joint = pair.make("moco", Collectives())
    joint.levels[0].load_state_dict(ranks[0]["state"], joint.rows)
    check(pair.step(joint, pair.STEPS), ranks[0]["after"])


def end(how: str, folder: Path, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.train.ending", how, str(folder), str(restarts)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_mistake_is_told_once(tmp_path):
    done = end("one fails", tmp_path, restarts=3)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: this is the mistake\n")


def test_killed_processes_are_started_again_those_that_fail_are_not(tmp_path):
    done = end("one is killed, then both fail", tmp_path, restarts=3)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("killed by signal 9, most likely since memory ran out") == 1
    assert done.stderr.splitlines()[-1] == "error: this is the mistake" and done.stderr.count("mistake") == 1


def test_ctrl_c_ends_all(tmp_path):
    process, pids = start_work(tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line.split(":")[0] for line in errors.splitlines()] == ["interrupted"]
    assert not any(map(is_running, pids))


def test_killing_the_process_that_started_them_ends_all(tmp_path):
    process, pids = start_work(tmp_path)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_running(pid) for pid in pids)


def start_work(folder: Path) -> tuple[subprocess.Popen, list[int]]:
    """Two processes that wait, and their numbers."""
    command = [sys.executable, "-m", "tests.train.ending", "they work", str(folder), "3"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    paths = [folder / f"{rank}.pid" for rank in range(2)]
    wait_for(lambda: all(path.exists() and path.read_text() for path in paths), process)
    return process, [int(path.read_text()) for path in paths]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def settings(epochs: int) -> list[str]:
    return ["train.workers=0", "train.save_every=1", "train.average_best=1", "batching.seconds=75", f"train.epochs={epochs}"]


def trainer(exp: Path, data: Path, dump: Path, epochs: int) -> Trainer:
    """One process, in this one."""
    config = resolve(load_config(TrainConfig, exp / "given.yaml", settings(epochs)))
    torch.set_num_threads(1)
    return Trainer(config, gather(config, data, dump, exp), exp)


def command(exp: Path, data: Path, dump: Path, epochs: int) -> list[str]:
    """The arguments of python for the same run in processes of its own."""
    return recipe.train_command(exp, exp / "given.yaml", data, dump, "--set", *settings(epochs))[1:]


def last(exp: Path) -> dict:
    return torch.load(exp / "checkpoints/last.pt", weights_only=True)


@pytest.fixture(scope="module")
def one_epoch(mini_data: Path, mini_dump: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a single process and one epoch."""
    exp = tmp_path_factory.mktemp("single") / "exp"
    recipe.prepare(exp, mini_data, recipe.SMALL)
    trainer(exp, mini_data, mini_dump, 1).run()
    return exp


@pytest.fixture(scope="module")
def two_epochs(one_epoch: Path, mini_data: Path, mini_dump: Path) -> Path:
    """Two processes have gone on from it for another one."""
    exp = one_epoch.parent / "pair"
    shutil.copytree(one_epoch, exp)
    line = [sys.executable, *command(exp, mini_data, mini_dump, 2), "--nproc", "2"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"going on after step {last(one_epoch)['number']} ") == 1
    return exp


@pytest.mark.slow
def test_checkpoints_move_between_process_counts(two_epochs, mini_data, mini_dump, tmp_path):
    """From one process to two for the second epoch, and back for the third."""
    exp = tmp_path / "exp"
    shutil.copytree(two_epochs, exp)
    again = trainer(exp, mini_data, mini_dump, 3)
    assert again.resume() and again.number == last(two_epochs)["number"]
    again.run()
    (loader,) = [phase["loader"] for phase in last(exp)["span"]["phases"].values()]
    assert loader["epoch"] == 3
    lines = [json.loads(line) for line in (exp / "train.jsonl").read_text().splitlines()]
    ends = [0, *(line["step"] for line in lines if line["kind"] == "dev")]
    lengths = [end - start for start, end in zip(ends, ends[1:], strict=False)]
    assert lengths[0] == lengths[1] == lengths[2]  # a step is the same, whoever reads it
    learned = [line["loss"]["asr_en"] for line in lines if line["kind"] == "dev"]
    assert learned[0] > learned[1] > learned[2]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(one_epoch, two_epochs, mini_data, mini_dump, tmp_path):
    """But for rounding, and for dropout and masks in the batches that are divided."""
    exp = tmp_path / "exp"
    shutil.copytree(one_epoch, exp)
    alone = trainer(exp, mini_data, mini_dump, 2)
    assert alone.resume()
    alone.run()
    single, pair = ([json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()] for run in (exp, two_epochs))
    assert [line["step"] for line in single] == [line["step"] for line in pair]
    for one, other in zip(single, pair, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)


@pytest.mark.slow  # with its fixtures
def test_development_sets_are_split_and_summed(two_epochs, mini_data, mini_dump):
    """The scores that two processes logged are those of one."""
    alone = trainer(two_epochs, mini_data, mini_dump, 2)
    assert alone.resume()
    batches = {name: alone.phases[0].loader.dev_batches(source) for name, source in alone.dev.items()}
    losses, metrics = evaluate(alone.system, batches, alone.phases[0].streams, torch.float32)
    line = json.loads((two_epochs / "train.jsonl").read_text().splitlines()[-1])
    assert line["kind"] == "dev" and line["loss"] == pytest.approx(losses, rel=1e-5)
    for name, found in metrics.items():
        assert line["metrics"][name] == pytest.approx(found, rel=1e-5)


@pytest.mark.slow
def test_a_killed_process_is_started_again_by_torchrun(one_epoch, two_epochs, mini_data, mini_dump, tmp_path):
    exp = tmp_path / "exp"
    shutil.copytree(one_epoch, exp)
    before = (exp / "checkpoints/last.pt").stat().st_mtime_ns
    started = [*TORCHRUN, "--max_restarts", "1", *command(exp, mini_data, mini_dump, 2)]
    process = subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (exp / "checkpoints/last.pt").stat().st_mtime_ns > before, process)
    (victim,) = [pid for pid in children(process.pid) if b"RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")]
    os.kill(victim, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.count("going on after step") == 2
    expected = torch.load(two_epochs / "model.pt", weights_only=True)["model"]
    for name, value in torch.load(exp / "model.pt", weights_only=True)["model"].items():
        assert torch.equal(value, expected[name]), name


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
