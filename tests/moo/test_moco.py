from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.mgda import MGDA
from m2asr.moo.moco import MoCo
from m2asr.moo.modo import MoDo
from tests.moo.quadratics import NAMES, gradients, start


def noise(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 3, dtype=torch.float64, generator=generator)


def moco(**options) -> tuple[MoCo, torch.Tensor]:
    made, memory = MoCo(NAMES, **options), torch.zeros(3, 3, dtype=torch.float64)
    made.keep_in(memory)
    return made, memory


def test_beta_one_is_modo_on_twice_the_same_batch() -> None:
    generator, (ours, memory), modo = torch.Generator().manual_seed(0), moco(beta=1.0), MoDo(NAMES)
    for _ in range(20):
        rows = noise(generator)
        ours.track(dict(enumerate(rows)))
        assert torch.equal(memory, rows)
        torch.testing.assert_close(ours.weights(memory @ memory.T), modo.weights(rows @ rows.T), atol=1e-12, rtol=0)


def test_tracking_is_the_running_mean_from_the_first_gradient() -> None:
    generator, (ours, memory) = torch.Generator().manual_seed(0), moco(beta=0.25)
    first, second = noise(generator), noise(generator)
    ours.track(dict(enumerate(first)))
    ours.track({0: second[0], 2: second[2]})
    expected = first - 0.25 * (first - second)
    torch.testing.assert_close(memory[[0, 2]], expected[[0, 2]])
    assert torch.equal(memory[1], first[1])  # away, so frozen


def test_weights_come_near_to_mgda_through_noise() -> None:
    """At a fixed point, where MGDA on single batches is biased towards equal weights."""
    generator, (ours, memory) = torch.Generator().manual_seed(0), moco(step=0.02, beta=0.02)
    rows = gradients(start(3))
    deviation = rows.square().mean().sqrt()
    optimum = MGDA(NAMES).weights(rows @ rows.T)
    found = []
    for step in range(3000):
        ours.track(dict(enumerate(rows + deviation * noise(generator))))
        weights = ours.weights(memory @ memory.T)
        if step >= 1500:
            found.append(weights)
    assert (torch.stack(found).mean(0) - optimum).abs().max() < 0.06


def test_tracked_gradients_go_through_a_checkpoint() -> None:
    generator, (ours, memory), (resumed, other) = torch.Generator().manual_seed(0), moco(), moco()
    first, _, third = noise(generator)
    ours.track({0: first, 2: third})
    ours.weights(memory @ memory.T, [0, 2])
    state = ours.state_dict()
    assert set(state["tracked"]) == {"a", "c"}
    resumed.load_state_dict(state)
    rows = noise(generator)
    for one, held in ((ours, memory), (resumed, other)):
        one.track(dict(enumerate(rows)))
        assert torch.equal(held[1], rows[1])  # its first
    assert torch.equal(memory, other)
    assert ours.weights(memory @ memory.T).equal(resumed.weights(other @ other.T))


def test_a_state_without_tracked_gradients_is_refused() -> None:
    with pytest.raises(UserError, match="another weighting than MoCo"):
        moco()[0].load_state_dict(MoDo(NAMES).state_dict())


@pytest.mark.parametrize("beta", [0.0, 1.5, float("nan")])
def test_impossible_beta_is_refused(beta: float) -> None:
    with pytest.raises(UserError, match="beta"):
        MoCo(NAMES, beta=beta)
