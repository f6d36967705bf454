"""Several processes: real ones, over gloo. They compute what one would, move little, and end together."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from m2asr.moo.collectives import Collectives
from tests.train import pair

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
UPPER = ("asr_x", "asr_y", "st_y")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, list[dict]]:
    """The same steps in one process, and in each of two."""
    folder = tmp_path_factory.mktemp("pair")
    single = pair.everything(Collectives(), folder)
    torch.save(single, folder / "single.pt")
    done = subprocess.run([*TORCHRUN, "-m", "tests.train.pair", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return single, [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal within 1e-9 of the length."""
    return float((one - other).norm()) <= 1e-9 * float(other.norm()) + 1e-15


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
    assert ours["inactive"] == single["inactive"] and ours["frames"] == single["frames"]
    for name, (total, weight) in single["losses"].items():
        assert ours["losses"][name] == (pytest.approx(total, rel=1e-12), weight)
    for name, metrics in single["metrics"].items():
        assert {key: pytest.approx(pair, rel=1e-9) for key, pair in metrics.items()} == ours["metrics"][name]
    if single["conflicts"] is not None:
        assert close(ours["conflicts"], single["conflicts"])


@pytest.mark.parametrize("kind", pair.WEIGHTINGS)
def test_two_processes_compute_what_one_does(found, kind):
    single, ranks = found
    for number in range(pair.STEPS):
        for rank in ranks:
            check(rank[kind][number], single[kind][number])


@pytest.mark.parametrize("kind", pair.WEIGHTINGS)
def test_all_processes_end_with_the_same_bits(found, kind):
    _, (one, other) = found
    for mine, theirs in zip(one[kind], other[kind], strict=True):
        assert mine["weights"] == theirs["weights"] and mine["losses"] == theirs["losses"]
        assert torch.equal(mine["gramian"], theirs["gramian"])
        for name, gradient in mine["gradients"].items():
            assert torch.equal(gradient, theirs["gradients"][name]), name


@pytest.mark.parametrize(
    ("kind", "vectors"),
    [("static", 1), ("mgda", 3 + 1), ("moco", 3 + 1), ("modo2", 2 * 3 + 1), ("modo3", 3 + 2 + 1)],
    ids=["static", "mgda", "moco", "modo2", "modo3"],
)
def test_gradients_move_less_than_in_all_reduces(found, kind, vectors):
    """N vectors of P elements: N reduce-scatters and one all-gather; an all-reduce is one of each, 2 N P in all."""
    _, ranks = found
    for rank in ranks:
        for one in rank[kind]:
            naive = 2 * vectors * one["columns"]
            assert one["moved"]["reduce_scatter"] == vectors * one["columns"]
            assert (one["moved"]["reduce_scatter"] + one["moved"]["all_gather"]) / naive == (vectors + 1) / (2 * vectors)
            heads = sum(value.numel() + 1 for name, value in one["gradients"].items() if not name.startswith("encoder."))
            assert one["moved"]["all_reduce"] - heads < 500  # inner products


@pytest.mark.parametrize("case", ["absent", "untranslated"])
def test_an_objective_that_one_process_has_is_trained_in_both(found, case):
    single, ranks = found
    for rank in ranks:
        for one, alone in zip(rank[case], single[case], strict=True):
            assert one["inactive"] == [] and one["gradients"]["objectives.st_y.output.weight"].abs().sum() > 0
            check(one, alone)


def test_not_a_number_in_one_process_is_skipped_in_both(found):
    single, ranks = found
    for rank in ranks:
        before, broken, after = rank["broken"]
        assert before["problem"] is None and after["problem"] is None
        assert broken["problem"] == ranks[0]["broken"][1]["problem"] and "asr_y" in broken["problem"] and "utt0" in broken["problem"]
        check(after, single["broken"][2])


def test_tracked_gradients_move_between_process_counts(found):
    single, ranks = found
    for name, row in single["state"]["weighting"]["tracked"].items():
        assert close(ranks[0]["state"]["weighting"]["tracked"][name], row)
    for rank in ranks:
        check(rank["resumed"], single["after"])
    joint = pair.make("moco", Collectives())
    joint.levels[0].load_state_dict(ranks[0]["state"])
    check(pair.step(joint, pair.STEPS), ranks[0]["after"])
