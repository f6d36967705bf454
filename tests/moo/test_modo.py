from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.mgda import MGDA
from m2asr.moo.modo import MoDo

NAMES = ["a", "b"]
CURVATURES = torch.tensor([[1.0, 1.0, 8.0], [1.0, 1.5, 1.0]], dtype=torch.float64)
CENTRES = torch.tensor([[1.0, 0.0, 1.0], [-1.0, 0.0, -0.5]], dtype=torch.float64)


def gradients(theta: torch.Tensor) -> torch.Tensor:
    """Of two quadratics (M, P)."""
    return CURVATURES * (theta - CENTRES)


def noisy(rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    deviation = (rows.square().sum(1).mean() / rows.shape[1]).sqrt()
    return rows + deviation * torch.randn(rows.shape, dtype=rows.dtype, generator=generator)


def average_weight(theta: torch.Tensor, released_pairing: bool, scale: str) -> float:
    """Mean weight of the first task over the second half of runs on gradients whose noise is as long as they are."""
    rows, found = gradients(theta), []
    step = 0.01 if scale == "auto" else 0.01 / float(rows.square().sum(1).mean())
    for seed in range(4):
        generator, modo = torch.Generator().manual_seed(seed), MoDo(NAMES, step=step, scale=scale)
        for t in range(1000):
            halves = torch.stack([noisy(rows, generator), noisy(rows, generator)])  # (half, task, P)
            first, second = halves.transpose(0, 1) if released_pairing else halves
            weights = modo.weights(first @ second.T, squared_norms=halves.square().sum(-1).mean(0))
            if t >= 500:
                found.append(weights[0])
    return float(torch.stack(found).mean())


@pytest.mark.parametrize("scale", ["auto", "none"])
def test_converges_to_the_mgda_weights_where_the_released_pairing_does_not(scale: str) -> None:
    theta = torch.tensor([-0.5, 0.6, 0.3], dtype=torch.float64)
    rows = gradients(theta)
    optimum = float(MGDA(NAMES).weights(rows @ rows.T)[0])
    assert optimum < 0.2
    assert abs(average_weight(theta, released_pairing=False, scale=scale) - optimum) < 0.04
    assert abs(average_weight(theta, released_pairing=True, scale=scale) - 0.5) < 0.1


@pytest.mark.parametrize("samples", [2, 3])
def test_reaches_the_pareto_front_through_noise(samples: int) -> None:
    generator = torch.Generator().manual_seed(2)
    theta, modo = torch.tensor([3.0, 3.0, -2.0], dtype=torch.float64), MoDo(NAMES, step=0.05, samples=samples)
    start = gradients(theta)
    tail = []
    for step in range(3000):
        batches = [noisy(gradients(theta), generator) for _ in range(samples)]
        weights = modo.weights(batches[0] @ batches[1].T, squared_norms=batches[0].square().sum(1))
        direction = weights @ (batches[2] if samples == 3 else (batches[0] + batches[1]) / 2)
        theta = theta - 0.01 * direction
        if step >= 2000:
            tail.append(theta)
    rows = gradients(torch.stack(tail).mean(0))
    weights = MGDA(NAMES).weights(rows @ rows.T)
    assert modo.draws == samples
    assert (weights @ rows).norm() < 0.05 * start.norm(dim=1).min()


@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_agrees_with_torchjd(rho: float) -> None:
    torchjd = pytest.importorskip("torchjd.aggregation", reason="torchjd is not installed (extra `moo`)")
    ours, theirs = MoDo(["a", "b", "c"], step=0.1, rho=rho, scale="none"), torchjd.MoDoWeighting(gamma=0.1, rho=rho)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        first, second = torch.randn(2, 3, 5, dtype=torch.float64, generator=generator)
        torch.testing.assert_close(ours.weights(first @ second.T), theirs(first @ second.T), atol=1e-6, rtol=0)


def test_first_step_is_the_formula() -> None:
    cross = torch.tensor([[0.3, 0.1], [0.2, -0.4]], dtype=torch.float64)
    slope = cross @ torch.tensor([0.5, 0.5], dtype=torch.float64)  # 0.2, -0.1: the projection takes the mean away
    expected = torch.tensor([0.5 - 0.1 * 0.15, 0.5 + 0.1 * 0.15], dtype=torch.float64)
    torch.testing.assert_close(slope.tolist(), [0.2, -0.1])
    torch.testing.assert_close(MoDo(NAMES, scale="none").weights(cross), expected)
    torch.testing.assert_close(MoDo(NAMES).weights(2 * cross, squared_norms=torch.tensor([1.0, 3.0])), expected)


def test_step_zero_is_uniform() -> None:
    assert MoDo(NAMES, step=0.0).weights(torch.diag(torch.tensor([9.0, 1.0]))).tolist() == [0.5, 0.5]


def test_one_weighted_backward_on_the_second_batch_is_enough() -> None:
    names = ["a", "b", "c"]
    plain, saving = MoDo(names, samples=3), MoDo(names, samples=3)
    generator = torch.Generator().manual_seed(0)
    for step in range(20):
        first, second = torch.randn(2, 3, 5, dtype=torch.float64, generator=generator)
        active = [0, 2] if step % 3 == 0 else None
        norms = first.square().sum(1)
        products = first @ (saving.current(active) @ second)
        expected = plain.weights(first @ second.T, active, norms)
        torch.testing.assert_close(saving.weights_along(products, norms, active), expected, atol=1e-12, rtol=0)


def test_absent_objectives_keep_their_share() -> None:
    modo = MoDo(["a", "b", "c"])
    cross = torch.diag(torch.tensor([4.0, 2.0, 1.0]))
    modo.weights(cross)
    before = modo.state_dict()["lambda"]
    modo.weights(cross, active=[0, 2])
    after = modo.state_dict()["lambda"]
    assert after["b"] == before["b"] and after["a"] < before["a"] and after["c"] > before["c"]
    assert abs(sum(after.values()) - 1) < 1e-12


def test_raw_gradients_jump_between_vertices_and_scaled_ones_do_not() -> None:
    generator = torch.Generator().manual_seed(0)
    raw, scaled = MoDo(NAMES, scale="none"), MoDo(NAMES)
    for step in range(200):
        first, second = 30 * (torch.randn(2, 2, 20, dtype=torch.float64, generator=generator) + 0.3)
        for modo in (raw, scaled):
            modo.weights(first @ second.T, squared_norms=first.square().sum(1))
        if step == 10:
            assert raw.warning() is None  # too early to tell
    assert raw.vertex_share > 0.5 and "auto" in raw.warning()
    assert scaled.vertex_share < 0.1 and scaled.warning() is None


@pytest.mark.parametrize("options", [{"step": -0.1}, {"rho": -1.0}, {"step": float("nan")}])
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        MoDo(NAMES, **options)


def along(factors: torch.Tensor, modo: MoDo, steps: int = 300) -> torch.Tensor:
    """The weight of every raw gradient times its factor, normalized: the direction, after steps on noisy gradients times `factors`."""
    generator, found = torch.Generator().manual_seed(3), []
    rows = gradients(torch.tensor([-0.5, 0.6, 0.3], dtype=torch.float64))
    for step in range(steps):
        first, second = (factors[:, None] * noisy(rows, generator) for _ in range(2))
        weights = modo.weights(first @ second.T, squared_norms=(first.square().sum(1) + second.square().sum(1)) / 2)
        if step >= steps // 2:
            found.append(weights * factors / (weights * factors).sum())
    return torch.stack(found).mean(0)


def test_with_a_scale_for_each_the_length_of_a_gradient_does_not_matter() -> None:
    plain = torch.tensor([1.0, 1.0], dtype=torch.float64)
    longer = torch.tensor([50.0, 1.0], dtype=torch.float64)
    one, other = (along(factors, MoDo(NAMES, step=0.05, scale="each")) for factors in (plain, longer))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    short = [float(along(factors, MoDo(NAMES, step=0.05))[0]) for factors in (plain, longer)]
    assert abs(short[1] - short[0]) > 1e-3, "with one scale for all it does"


def test_with_a_scale_for_each_weights_are_mgdas_of_normalized_gradients() -> None:
    rows = gradients(torch.tensor([-0.5, 0.6, 0.3], dtype=torch.float64))
    noise = rows.square().sum(1).mean()
    lengths = (rows.square().sum(1) + noise).sqrt()  # as they are seen: with the noise
    inside = MGDA(NAMES).weights((rows / lengths[:, None]) @ (rows / lengths[:, None]).T)
    optimum = inside / lengths / (inside / lengths).sum()
    found = along(torch.ones(2, dtype=torch.float64), MoDo(NAMES, step=0.01, scale="each"), steps=6000)
    torch.testing.assert_close(found, optimum, rtol=0, atol=0.04)


def test_a_scale_for_each_is_resumed_and_needs_two_samples() -> None:
    modo, again = (MoDo(NAMES, scale="each") for _ in range(2))
    along(torch.tensor([3.0, 1.0], dtype=torch.float64), modo, steps=7)
    again.load_state_dict(modo.state_dict())
    one, other = (along(torch.tensor([3.0, 1.0], dtype=torch.float64), weighting, steps=5) for weighting in (modo, again))
    assert torch.equal(one, other)
    with pytest.raises(UserError, match="`each` needs `samples: 2`"):
        MoDo(NAMES, scale="each", samples=3)
