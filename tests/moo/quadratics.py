"""Three quadratic losses with a Pareto front between their minima, shared by the tests of weightings."""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = ["a", "b", "c"]
CENTRES = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 1.0, 0.0], [0.0, -2.0, 1.0]], dtype=torch.float64)
CURVATURES = torch.tensor([[1.0, 2.0, 1.0], [3.0, 1.0, 0.5], [1.0, 1.0, 4.0]], dtype=torch.float64)


def losses(theta: Tensor) -> Tensor:
    """Loss of each objective (M,)."""
    return (CURVATURES * (theta - CENTRES).square()).sum(1) / 2


def gradients(theta: Tensor) -> Tensor:
    """Gradient of each objective (M, P)."""
    return CURVATURES * (theta - CENTRES)


def start(seed: int) -> Tensor:
    """A point away from the front."""
    return 4 * torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
