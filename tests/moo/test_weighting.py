"""What holds for every weighting in the table."""

from __future__ import annotations

import io
import math
from importlib.util import find_spec

import pytest
import torch

from m2asr.config import construct
from m2asr.errors import UserError
from m2asr.moo import WEIGHTINGS
from m2asr.moo.borrowed import Borrowed
from m2asr.moo.min_norm import min_norm_weights
from m2asr.moo.weighting import Weighting
from tests.moo.quadratics import gradients, start

NAMES = ["asr_en", "asr_it", "st_it_en"]
BORROWED = sorted(kind for kind, cls in WEIGHTINGS.items() if issubclass(cls, Borrowed))
OWN = sorted(set(WEIGHTINGS) - set(BORROWED))
# the others' weights may sum to more, or be negative
SIMPLEX = [*(kind for kind in OWN if kind != "static"), "fairgrad", "nash_mtl", "sdmgrad", "krum", "random"]
RANDOM = ["gradvac", "pcgrad", "random"]
CHOOSY = ["krum", "pcd", "random"]  # equal gradients get other than equal weights
LOSS_BASED = ["dwa", "famo", "uncertainty"]
installed = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torchjd", "cvxpy", "quadprog", "qpsolvers", "scipy")), reason="torchjd or a solver is missing"
)


def kinds(names: list[str]) -> list:
    """Test parameters: what needs torchjd is skipped without it."""
    return [pytest.param(name, marks=installed) if name in BORROWED else name for name in names]


KINDS = kinds(sorted(WEIGHTINGS))


def build(kind: str, names: list[str] = NAMES, **options) -> Weighting:
    return construct(WEIGHTINGS, "weighting", {"type": kind, **options}, objectives=names)


def gramian(size: int = 3, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(size, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows @ rows.T


@pytest.mark.parametrize("kind", kinds(SIMPLEX))
def test_weights_lie_on_the_simplex(kind: str) -> None:
    weighting = build(kind)
    for seed in range(20):
        weights = weighting.weights(gramian(seed=seed))
        assert weights.dtype == torch.float64 and weights.shape == (3,)
        assert (weights >= 0).all() and abs(weights.sum() - 1) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_equal_gradients_get_weights_that_sum_to_one(kind: str) -> None:
    weighting = build(kind, **({"weights": "equal"} if kind == "static" else {}))
    for _ in range(3):
        weights = weighting.weights(torch.full((3, 3), 5.0))
        assert abs(weights.sum() - 1) < 1e-6
        assert kind in CHOOSY or weights.tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("kind", kinds(sorted(set(WEIGHTINGS) - {*RANDOM, "krum"})))  # Krum has ties among three
def test_order_of_objectives_does_not_matter(kind: str) -> None:
    given = {"static": {"weights": {"asr_en": 1.0, "asr_it": 0.5, "st_it_en": 2.0}}, "pcd": {"primary": "asr_it"}}
    options = given.get(kind, {})
    order = [2, 0, 1]
    one, other = build(kind, **options), build(kind, [NAMES[i] for i in order], **options)
    for seed in range(10):
        matrix = gramian(seed=seed)
        torch.testing.assert_close(other.weights(matrix[order][:, order]), one.weights(matrix)[order], atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", ["static", "mgda", "moco", "crmogm"])
def test_descends_to_the_pareto_front(kind: str) -> None:
    theta, weighting = start(0), build(kind, **({"beta": 0.5} if kind == "moco" else {"weights": "equal"} if kind == "static" else {}))
    rows = gradients(theta)
    for _ in range(300):
        rows = torch.lerp(rows, gradients(theta), weighting.beta)  # beta is 1 where nothing is tracked
        theta = theta - 0.1 * weighting.weights(rows @ rows.T) @ rows
    rows = gradients(theta)
    assert (min_norm_weights(rows @ rows.T) @ rows).norm() < 1e-3, "not on the front"


@pytest.mark.parametrize("kind", KINDS)
def test_scale_of_all_gradients_does_not_matter(kind: str) -> None:
    one, other = build(kind), build(kind)
    for seed in range(10):
        torch.testing.assert_close(other.weights(1e8 * gramian(seed=seed)), one.weights(gramian(seed=seed)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_absent_objectives_get_no_weight_and_do_not_matter(kind: str) -> None:
    one, other = build(kind), build(kind)
    matrix = gramian()
    polluted = matrix.clone()
    polluted[1, :] = polluted[:, 1] = float("nan")
    weights = one.weights(matrix, active=[0, 2])
    assert weights[1] == 0 and weights[0] + weights[2] > 0
    assert torch.equal(other.weights(polluted, active=[2, 0]), weights)
    assert other.state_dict() == one.state_dict()
    assert one.weights(matrix, active=[]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", kinds(sorted(set(WEIGHTINGS) - {"static"})))
def test_lonely_objective_has_weight_one(kind: str) -> None:
    assert build(kind).weights(gramian(), active=[1]).tolist() == [0, 1, 0]
    if kind != "krum":  # takes a level of three
        assert build(kind, ["only"]).weights(gramian(1)).tolist() == [1]


@pytest.mark.parametrize("kind", kinds(sorted(set(WEIGHTINGS) - {"static"})))
def test_not_finite_gradient_raises_and_leaves_the_state(kind: str) -> None:
    weighting = build(kind)
    weighting.weights(gramian())
    before = weighting.state_dict()
    broken = gramian()
    broken[0, 1] = float("inf")
    with pytest.raises(FloatingPointError):
        weighting.weights(broken)
    assert weighting.state_dict() == before


@pytest.mark.parametrize("kind", KINDS)
def test_state_goes_through_a_checkpoint_bit_for_bit(kind: str) -> None:
    def step(weighting: Weighting, seed: int) -> torch.Tensor:
        weights = weighting.weights(gramian(seed=seed), active=[0, 2] if seed == 3 else None)
        weighting.after_step({name: 2 + math.sin(3 * seed + place) for place, name in enumerate(weighting.objectives)})
        return weights

    options = {"window": 2} if kind == "dwa" else {}
    straight, first = build(kind, **options), build(kind, **options)
    for seed in range(5):
        step(straight, seed)
        step(first, seed)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed = build(kind, **options)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for seed in range(5, 10):
        assert torch.equal(step(resumed, seed), step(straight, seed))


def test_state_of_other_objectives_or_of_another_weighting_is_refused() -> None:
    state = build("modo").state_dict()
    with pytest.raises(UserError, match="st_it_en"):
        build("modo", ["asr_en", "asr_it"]).load_state_dict(state)
    with pytest.raises(UserError, match="no objectives"):
        build("modo").load_state_dict(build("mgda").state_dict())
    for kind in ("static", "mgda"):
        with pytest.raises(UserError, match="another weighting"):
            build(kind).load_state_dict(state)
    for kind in LOSS_BASED:
        with pytest.raises(UserError, match="no objectives"):
            build(kind).load_state_dict(state)
        with pytest.raises(UserError, match="st_it_en"):
            build(kind, ["asr_en", "asr_it"]).load_state_dict(build(kind).state_dict())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"type": "mdoo"}, "modo"),
        ({"type": "modo", "stpe": 0.1}, "step"),
        ({"type": "mgda", "step": 0.1}, "step"),
        ({"type": "gradvac", "beta": 5.0}, "weighting: beta: Input should be less than or equal to 1, got 5.0"),
        ({"type": "gradvac", "beta": -1.0}, "weighting: beta: Input should be greater than or equal to 0, got -1.0"),
        ({"type": "gradvac", "beta": math.nan}, "weighting: beta: Input should be a finite number, got nan"),
        ({"type": "cagrad", "c": -0.5}, "weighting: c: Input should be greater than or equal to 0, got -0.5"),
        ({"type": "aligned_mtl", "length": "max"}, "length"),
        ({"type": "fairgrad", "alpha": math.inf}, "weighting: alpha: Input should be a finite number, got inf"),
        ({"type": "sdmgrad", "step": 0.0}, "weighting: step: Input should be greater than 0, got 0.0"),
        ({"type": "sdmgrad", "momentum": 1.0}, "weighting: momentum: Input should be less than 1, got 1.0"),
        ({"type": "sdmgrad", "iterations": 0}, "weighting: iterations: Input should be greater than or equal to 1, got 0"),
        ({"type": "sdmgrad", "pull": -1.0}, "weighting: pull: Input should be greater than or equal to 0, got -1.0"),
        ({"type": "pcd", "tau": 1.5}, "weighting.tau: 1.5"),
        ({"type": "pcd", "beta": 1.0}, "weighting: beta: Input should be less than 1, got 1.0"),
        ({"type": "pcd", "primary": "asr_eng"}, "weighting.primary.*asr_en"),
        ({"type": "krum", "byzantine": -1}, "weighting: byzantine: Input should be greater than or equal to 0, got -1"),
        ({"type": "krum", "byzantine": 1}, "weighting.byzantine: 1 needs a level of at least 4 objectives, this one has 3"),
        ({"type": "krum", "selected": 0}, "weighting: selected: Input should be greater than or equal to 1, got 0"),
        ({"type": "krum", "selected": 4}, "weighting.selected: 4"),
        ({"type": "crmogm", "alpha": 1.5}, "weighting: alpha: Input should be less than or equal to 1, got 1.5"),
        ({"type": "crmogm", "of": "modo"}, "of"),
    ],
)
def test_config_mistakes_name_the_key(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        construct(WEIGHTINGS, "weighting", options, objectives=NAMES)
