"""torchjd's weightings as ours: agreement, scale, order, and what each paper promises."""

from __future__ import annotations

import builtins

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo import WEIGHTINGS
from m2asr.moo.borrowed import Borrowed
from tests.moo.quadratics import NAMES, gradients, start

KINDS = sorted(kind for kind, cls in WEIGHTINGS.items() if issubclass(cls, Borrowed))
FULL = "torchjd and its solvers are not installed (extra `moo`)"


@pytest.fixture
def torchjd():
    for name in ("cvxpy", "quadprog", "qpsolvers", "scipy"):
        pytest.importorskip(name, reason=FULL)
    return pytest.importorskip("torchjd.aggregation", reason=FULL)


def gramian(seed: int, size: int = 3) -> torch.Tensor:
    rows = torch.randn(size, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows @ rows.T


@pytest.mark.parametrize("kind", KINDS)
def test_missing_torchjd_is_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.startswith("torchjd"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=rf'{WEIGHTINGS[kind].__name__} needs torchjd.*pip install "m2asr\[moo\]"'):
        WEIGHTINGS[kind](NAMES)


# IMTL-G may lead uphill, and AlignedMTL's update is not shorter near the front
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("imtl_g", "aligned_mtl")])
def test_descends_to_the_pareto_front(kind: str, torchjd) -> None:
    theta, weighting = start(0), WEIGHTINGS[kind](NAMES)
    for _ in range(60):
        rows = gradients(theta)
        theta = theta - 0.25 * weighting.weights(rows @ rows.T) @ rows
    rows = gradients(theta)
    assert (WEIGHTINGS["mgda"](NAMES).weights(rows @ rows.T) @ rows).norm() < 0.02, "not on the front"
    assert weighting.warning() is None


@pytest.mark.parametrize(
    "kind, build",
    [
        ("cagrad", lambda aggregation: aggregation.CAGradWeighting(c=0.5)),
        ("upgrad", lambda aggregation: aggregation.UPGradWeighting()),
        ("dualproj", lambda aggregation: aggregation.DualProjWeighting()),
        ("imtl_g", lambda aggregation: aggregation.IMTLGWeighting()),
        ("aligned_mtl", lambda aggregation: aggregation.AlignedMTLWeighting()),
    ],
)
def test_is_torchjds_direction(kind: str, build, torchjd) -> None:
    for seed in range(10):
        theirs = build(torchjd)(gramian(seed))
        ours = WEIGHTINGS[kind](NAMES).weights(gramian(seed))
        torch.testing.assert_close(ours / ours.norm(), theirs / theirs.norm(), atol=1e-4, rtol=0)


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


def test_failed_solutions_are_counted(torchjd, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_):
        raise ValueError("no solution")

    weighting = WEIGHTINGS["upgrad"](NAMES)
    monkeypatch.setattr(weighting, "_method", fail)
    assert weighting.weights(gramian(0)).tolist() == pytest.approx([1 / 3] * 3)
    assert "1 of 1 steps" in weighting.warning()
