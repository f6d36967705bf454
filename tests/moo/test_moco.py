from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.gramian import Products
from m2asr.moo.level import Level
from m2asr.moo.mgda import MGDA
from m2asr.moo.moco import MoCo
from m2asr.moo.modo import MoDo
from m2asr.moo.rows import GradientRows
from m2asr.moo.tracked_level import TrackedLevel
from tests.moo.quadratics import NAMES, gradients, start


def noise(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 3, dtype=torch.float64, generator=generator)


class Tracked:
    """A level with MoCo, whose gradients have three numbers."""

    def __init__(self, **options) -> None:
        self.level = TrackedLevel(NAMES, MoCo(NAMES, **options))
        self.rows = GradientRows([torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))])

    @property
    def memory(self) -> torch.Tensor:
        """The tracked gradients (3, 3)."""
        return torch.stack([self.rows.row(self.level.tracked(name))[:3] for name in NAMES])

    def track(self, gradients: dict[str, torch.Tensor]) -> None:
        for name, gradient in gradients.items():
            self.rows.row(self.level.row(name))[:3] = gradient
        self.pairs = self.level.track(self.rows, list(gradients))

    def weights(self, active: list[str] = NAMES) -> torch.Tensor:
        products = Products(self.pairs, self.rows.inner_products(self.pairs))
        return torch.tensor(list(self.level.solve(products, active, {}, {}).weights.values()), dtype=torch.float64)


def named(rows: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(NAMES, rows, strict=True))


def test_beta_one_is_modo_on_twice_the_same_batch() -> None:
    generator, ours, modo = torch.Generator().manual_seed(0), Tracked(beta=1.0), MoDo(NAMES)
    for _ in range(20):
        rows = noise(generator)
        ours.track(named(rows))
        assert torch.equal(ours.memory, rows)
        torch.testing.assert_close(ours.weights(), modo.weights(rows @ rows.T), atol=1e-12, rtol=0)


def test_tracking_is_the_running_mean_from_the_first_gradient() -> None:
    generator, ours = torch.Generator().manual_seed(0), Tracked(beta=0.25)
    first, second = noise(generator), noise(generator)
    ours.track(named(first))
    ours.track({"a": second[0], "c": second[2]})
    expected = first - 0.25 * (first - second)
    torch.testing.assert_close(ours.memory[[0, 2]], expected[[0, 2]])
    assert torch.equal(ours.memory[1], first[1])  # away, so frozen


def test_weights_come_near_to_mgda_through_noise() -> None:
    """At a fixed point, where MGDA on single batches is biased towards equal weights."""
    generator, ours = torch.Generator().manual_seed(0), Tracked(step=0.02, beta=0.02)
    rows = gradients(start(3))
    deviation = rows.square().mean().sqrt()
    optimum = MGDA(NAMES).weights(rows @ rows.T)
    found = []
    for step in range(3000):
        ours.track(named(rows + deviation * noise(generator)))
        weights = ours.weights()
        if step >= 1500:
            found.append(weights)
    assert (torch.stack(found).mean(0) - optimum).abs().max() < 0.06


def test_tracked_gradients_go_through_a_checkpoint() -> None:
    generator, ours, resumed = torch.Generator().manual_seed(0), Tracked(), Tracked()
    first, _, third = noise(generator)
    ours.track({"a": first, "c": third})
    ours.weights(["a", "c"])
    state = ours.level.state_dict(ours.rows)
    assert set(state["tracked"]) == {"a", "c"}
    resumed.level.load_state_dict(state, resumed.rows)
    rows = noise(generator)
    for tracked in (ours, resumed):
        tracked.track(named(rows))
        assert torch.equal(tracked.memory[1], rows[1])  # its first
    assert torch.equal(ours.memory, resumed.memory) and ours.weights().equal(resumed.weights())


def test_a_state_of_another_weighting_is_refused() -> None:
    moco, modo = Tracked(), Level(NAMES, MoDo(NAMES))
    with pytest.raises(UserError, match="another weighting than MoCo"):
        moco.level.load_state_dict(modo.state_dict(moco.rows), moco.rows)
    with pytest.raises(UserError, match="another weighting than MoDo"):
        modo.load_state_dict(moco.level.state_dict(moco.rows), moco.rows)


@pytest.mark.parametrize("beta", [0.0, 1.5, float("nan")])
def test_impossible_beta_is_refused(beta: float) -> None:
    with pytest.raises(UserError, match="beta"):
        MoCo(NAMES, beta=beta)
