from __future__ import annotations

import pytest
import torch

from m2asr.moo.mgda import MGDA
from m2asr.moo.monitor import merged_norm
from tests.moo.quadratics import CENTRES, CURVATURES, gradients, losses, start


@pytest.mark.parametrize("seed", range(5))
def test_descends_on_every_objective_to_the_pareto_front(seed: int) -> None:
    theta = start(seed)
    weighting = MGDA(["a", "b", "c"])
    for _ in range(300):
        rows = gradients(theta)
        moved = theta - 0.1 * weighting.weights(rows @ rows.T) @ rows
        assert (losses(moved) <= losses(theta) + 1e-8).all()
        theta = moved
    rows = gradients(theta)
    weights = weighting.weights(rows @ rows.T)
    assert merged_norm(rows @ rows.T, weights) < 1e-4
    # on the front of convex objectives theta is the minimum of their weighted sum
    minimum = (weights[:, None] * CURVATURES * CENTRES).sum(0) / (weights[:, None] * CURVATURES).sum(0)
    torch.testing.assert_close(theta, minimum, atol=1e-3, rtol=0)


def test_never_longer_than_torchjd() -> None:
    torchjd = pytest.importorskip("torchjd.aggregation", reason="torchjd is not installed (extra `moo`)")
    other = torchjd.MGDAWeighting(epsilon=1e-5, max_iters=1000)
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(2 + seed % 7, 10, dtype=torch.float64, generator=generator) + 0.5
        gramian = rows @ rows.T
        ours = MGDA([str(row) for row in range(len(rows))]).weights(gramian)
        assert merged_norm(gramian, ours) <= merged_norm(gramian, other(gramian)) + 1e-9
