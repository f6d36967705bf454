"""torchjd's weightings as ours: agreement, scale, order, and what each paper promises."""

from __future__ import annotations

import builtins
import importlib

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo import WEIGHTINGS, borrowed
from m2asr.moo.borrowed import TESTED, Borrowed
from m2asr.moo.build import build_weighting
from m2asr.moo.min_norm import min_norm_weights
from m2asr.train_config import Weighting as Section
from tests.conftest import ROOT
from tests.moo.quadratics import NAMES, gradients, losses, start

KINDS = sorted(kind for kind, cls in WEIGHTINGS.items() if issubclass(cls, Borrowed))
PASSING = ["imtl_g", "aligned_mtl", "pcd"]  # they reach the front, but their update does not get shorter there, so they do not stay
AIMLESS = ["krum", "random"]  # one objective, or none in particular
FULL = "torchjd and its solvers are not installed (extra `moo`)"


@pytest.fixture
def torchjd():
    for name in ("cvxpy", "quadprog", "qpsolvers", "scipy"):
        pytest.importorskip(name, reason=FULL)
    return pytest.importorskip("torchjd.aggregation", reason=FULL)


def gramian(seed: int, size: int = 3) -> torch.Tensor:
    rows = torch.randn(size, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows @ rows.T


@pytest.mark.parametrize("kind", [*KINDS, "crmogm"])
def test_missing_torchjd_is_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.startswith("torchjd"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    section = Section(type=kind, **({"of": "upgrad"} if kind == "crmogm" else {}))
    with pytest.raises(UserError, match=rf'weighting.type: {kind} needs torchjd.*pip install "m2asr\[moo\]"'):
        build_weighting(section, NAMES)


def test_another_torchjd_than_the_tested_one_is_told(torchjd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borrowed, "version", lambda _: "0.19.1")
    with pytest.raises(UserError, match="type: gradvac needs torchjd 0.18, with which it was tested, but 0.19.1 is installed; pip install"):
        build_weighting(Section(type="gradvac"), NAMES)


def test_setup_asks_for_the_tested_torchjd() -> None:
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert text.count("torchjd[") == text.count(f'"torchjd[quadprog_projector,cagrad,fairgrad]=={TESTED}.*"') == 2


def distance(rows: torch.Tensor) -> float:
    """From the Pareto front: the length of the shortest vector in the convex hull of gradients (M, P)."""
    return float((min_norm_weights(rows @ rows.T) @ rows).norm())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (*PASSING, *AIMLESS)])
def test_descends_to_the_pareto_front(kind: str, torchjd) -> None:
    theta, weighting = start(0), WEIGHTINGS[kind](NAMES)
    for _ in range(60):
        rows = gradients(theta)
        theta = theta - 0.25 * weighting.weights(rows @ rows.T) @ rows
    assert distance(gradients(theta)) < 0.02, "not on the front"
    assert weighting.warning() is None


@pytest.mark.parametrize("kind", PASSING)
def test_reaches_the_pareto_front_of_two(kind: str, torchjd) -> None:
    theta, weighting = start(2), WEIGHTINGS[kind](NAMES[:2])
    before = losses(theta)[:2]
    for _ in range(100):
        rows = gradients(theta)[:2]
        if distance(rows) < 0.02:
            break
        theta = theta - 0.1 * weighting.weights(rows @ rows.T) @ rows
    assert distance(gradients(theta)[:2]) < 0.02, "not on the front"
    assert (losses(theta)[:2] < before).all()


@pytest.mark.parametrize(
    "kind, build",
    [
        ("cagrad", lambda aggregation: aggregation.CAGradWeighting(c=0.5)),
        ("upgrad", lambda aggregation: aggregation.UPGradWeighting()),
        ("dualproj", lambda aggregation: aggregation.DualProjWeighting()),
        ("imtl_g", lambda aggregation: aggregation.IMTLGWeighting()),
        ("aligned_mtl", lambda aggregation: aggregation.AlignedMTLWeighting()),
        ("fairgrad", lambda aggregation: aggregation.FairGradWeighting(alpha=2.0)),
        ("krum", lambda aggregation: aggregation.KrumWeighting(n_byzantine=0)),
    ],
)
def test_is_torchjds_direction(kind: str, build, torchjd) -> None:
    for seed in range(10):
        theirs = build(torchjd)(gramian(seed, 5))
        ours = WEIGHTINGS[kind](list("abcde")).weights(gramian(seed, 5))
        torch.testing.assert_close(ours / ours.norm(), theirs / theirs.norm(), atol=1e-3 if kind == "fairgrad" else 1e-4, rtol=0)


@pytest.mark.parametrize(
    "kind, build, unit",
    [
        ("pcgrad", lambda aggregation: aggregation.PCGradWeighting(), 3),
        ("gradvac", lambda aggregation: aggregation.GradVacWeighting(beta=0.01), 3),
        ("random", lambda aggregation: aggregation.RandomWeighting(), 1),
        ("pcd", lambda aggregation: aggregation.PCDWeighting(eps=0.0), 1),
        ("crmogm", lambda aggregation: aggregation.CRMOGMWeighting(aggregation.PCGradWeighting()), 3),
        ("sdmgrad", lambda aggregation: aggregation.SDMGradWeighting(), 1),
    ],
)
def test_runs_are_torchjds(kind: str, build, unit: int, torchjd) -> None:
    """Over steps, with the same random numbers; weights of torchjd's that sum to M are divided by it."""
    ours, theirs = WEIGHTINGS[kind](NAMES, **({"of": "pcgrad"} if kind == "crmogm" else {})), build(torchjd)
    for step in range(1, 21):
        matrix = gramian(step)
        torch.manual_seed(step)
        torch.testing.assert_close(ours.weights(matrix), theirs(matrix) / unit, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["pcd", "sdmgrad", "crmogm"])
def test_objectives_that_are_away_keep_their_state(kind: str, torchjd) -> None:
    """What another one does meanwhile is not seen, and the order of objectives may change in a checkpoint."""
    one, other = (WEIGHTINGS[kind](NAMES) for _ in range(2))
    for weighting, scale in ((one, 1.0), (other, 100.0)):
        weighting.weights(gramian(0))
        matrix = gramian(1)
        matrix[1, :] *= scale
        matrix[:, 1] *= scale
        weighting.weights(matrix, active=[0, 2])
    torch.testing.assert_close(one.weights(gramian(2)), other.weights(gramian(2)), atol=0, rtol=0)
    order, given = [2, 0, 1], {"primary": "a"} if kind == "pcd" else {}
    moved = WEIGHTINGS[kind]([NAMES[place] for place in order], **given)
    moved.load_state_dict(one.state_dict())
    torch.testing.assert_close(moved.weights(gramian(3)[order][:, order]), one.weights(gramian(3))[order], atol=1e-9, rtol=0)


def test_pcd_gives_every_other_objective_its_share_of_progress(torchjd) -> None:
    found = 0
    for seed in range(20):
        matrix, tau = gramian(seed), 0.3
        weights = WEIGHTINGS["pcd"](NAMES, primary="b", tau=tau).weights(matrix)
        lengths = matrix.diagonal().sqrt()
        assert (weights @ matrix @ weights).sqrt() == pytest.approx(float(lengths[1]))
        if weights[[0, 2]].abs().sum() == 0:  # nothing to do, or nothing that could be done
            continue
        along = (matrix @ weights / lengths)[[0, 2]] / (weights[1] * lengths[1])  # of d with g_b's part at length 1
        assert (weights >= 0).all() and (along > tau - 1e-6).all() and float(along.min()) == pytest.approx(tau, abs=1e-6)
        found += 1
    assert found > 5


def test_krum_takes_those_that_agree(torchjd) -> None:
    rows = torch.randn(1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1 * torch.eye(5, 6, dtype=torch.float64)
    rows[3] *= -5
    weights = WEIGHTINGS["krum"](list("abcde"), byzantine=1, selected=4).weights(rows @ rows.T)
    assert weights.tolist() == [0.25, 0.25, 0.25, 0, 0.25]


def test_krum_without_enough_objectives_averages_and_tells(torchjd) -> None:
    weighting = WEIGHTINGS["krum"](NAMES)
    assert weighting.weights(gramian(0), active=[0, 2]).tolist() == [0.5, 0, 0.5]
    assert "1 of 1 steps" in weighting.warning()


def test_random_weights_need_no_gradient_and_are_fair(torchjd) -> None:
    weighting = WEIGHTINGS["random"](NAMES)
    found = torch.stack([weighting.weights() for _ in range(500)])
    assert not weighting.dynamic and len(found.unique(dim=0)) == 500
    torch.testing.assert_close(found.mean(0), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", ["pcgrad", "gradvac"])
def test_order_does_not_matter_in_expectation(kind: str, torchjd) -> None:
    order, matrix = [2, 0, 1], gramian(1)
    one, other = WEIGHTINGS[kind](NAMES), WEIGHTINGS[kind]([NAMES[place] for place in order])
    means = [
        torch.stack([weighting.weights(shown) for _ in range(300)]).mean(0)
        for weighting, shown in ((one, matrix), (other, matrix[order][:, order]))
    ]
    torch.testing.assert_close(means[1], means[0][order], atol=0.06, rtol=0)


def test_random_order_does_not_touch_the_generator_of_the_run(torchjd) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    WEIGHTINGS["pcgrad"](NAMES).weights(gramian(0))
    assert torch.equal(torch.rand(3), expected)


def test_pcgrad_of_two_gradients_is_its_formula(torchjd) -> None:
    rows = torch.tensor([[1.0, 0.0], [-1.0, 2.0]], dtype=torch.float64)
    first = rows[0] - (rows[0] @ rows[1]) / (rows[1] @ rows[1]) * rows[1]
    second = rows[1] - (rows[0] @ rows[1]) / (rows[0] @ rows[0]) * rows[0]
    weights = WEIGHTINGS["pcgrad"](["a", "b"]).weights(rows @ rows.T)
    torch.testing.assert_close(weights @ rows, (first + second) / 2)


@pytest.mark.parametrize("kind", ["upgrad", "dualproj"])
def test_projections_conflict_with_no_gradient(kind: str, torchjd) -> None:
    for seed in range(10):
        matrix = gramian(seed)
        assert (matrix @ WEIGHTINGS[kind](NAMES).weights(matrix) > -1e-2 * matrix.diagonal().max()).all()


def test_imtl_g_projects_alike_on_every_direction(torchjd) -> None:
    matrix = gramian(0)
    shares = matrix @ WEIGHTINGS["imtl_g"](NAMES).weights(matrix) / matrix.diagonal().sqrt()
    torch.testing.assert_close(shares, shares[0].expand(3))


def test_aligned_mtl_is_the_mean_of_orthogonal_gradients(torchjd) -> None:
    matrix = gramian(0)
    values, vectors = torch.linalg.eigh(matrix)
    expected = vectors @ torch.diag((values.min() / values).sqrt()) @ vectors.T @ torch.full((3,), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(WEIGHTINGS["aligned_mtl"](NAMES).weights(matrix), expected)


@pytest.mark.parametrize("kind, alpha", [("fairgrad", 2.0), ("nash_mtl", 1.0)])
def test_fair_weights_solve_their_equation(kind: str, alpha: float, torchjd) -> None:
    for seed in range(20):
        matrix, weighting = gramian(seed, 2 + seed % 4), WEIGHTINGS[kind]([str(place) for place in range(2 + seed % 4)])
        weights = weighting.weights(matrix)
        sides = matrix @ weights * weights ** (1 / alpha)  # equal for all, since the weights are only known up to a factor
        torch.testing.assert_close(sides, sides.mean().expand(len(sides)), rtol=1e-3, atol=0)


@pytest.mark.filterwarnings("ignore:You are solving a parameterized")
def test_nash_agrees_with_torchjd_where_nothing_conflicts(torchjd) -> None:
    pytest.importorskip("ecos", reason=FULL)
    rows = torch.rand(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    method = torchjd.NashMTL(n_tasks=3, max_norm=0, optim_niter=100).weighting
    theirs = method(rows)
    ours = WEIGHTINGS["nash_mtl"](NAMES).weights(rows @ rows.T)
    torch.testing.assert_close(ours, theirs / theirs.sum(), atol=1e-2, rtol=0)


def test_gradvac_keeps_the_cosines_of_those_that_are_away(torchjd) -> None:
    weighting = WEIGHTINGS["gradvac"](NAMES)
    weighting.weights(gramian(0))
    before = weighting.state_dict()["cosines"]
    weighting.weights(gramian(1), active=[0, 2])
    after = weighting.state_dict()["cosines"]
    assert after["b"] == before["b"] and after["a"][1] == before["a"][1] and after["a"][2] != before["a"][2]
    other = WEIGHTINGS["gradvac"](["c", "a", "b"])
    other.load_state_dict(weighting.state_dict())
    assert other.state_dict()["cosines"]["a"] == [after["a"][place] for place in (2, 0, 1)]


@pytest.mark.parametrize("kind", ["upgrad", "cagrad", "nash_mtl"])
def test_mistakes_are_no_failed_solutions(kind: str, torchjd, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_):
        raise AttributeError("what another torchjd does not have")

    weighting = WEIGHTINGS[kind](NAMES)
    monkeypatch.setattr(weighting, "_method", fail)
    with pytest.raises(AttributeError):
        weighting.weights(gramian(0))


@pytest.mark.parametrize("kind, module, name", [("upgrad", "qpsolvers", "ProblemError"), ("cagrad", "cvxpy", "SolverError")])
def test_failed_solutions_are_counted(kind: str, module: str, name: str, torchjd, monkeypatch: pytest.MonkeyPatch) -> None:
    error = getattr(importlib.import_module(module), name)

    def fail(*_):
        raise error("no solution")

    weighting = WEIGHTINGS[kind](NAMES)
    monkeypatch.setattr(weighting, "_method", fail)
    assert weighting.weights(gramian(0)).tolist() == pytest.approx([1 / 3] * 3)
    assert "1 of 1 steps" in weighting.warning()
