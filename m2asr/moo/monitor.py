"""What the inner products of gradients say about conflict."""

from __future__ import annotations

import torch
from torch import Tensor


def cosines(gramian: Tensor) -> Tensor:
    """Cosines (M, M) of the angles between gradients, from G G^T (M, M) of one batch; 0 beside a gradient that is 0."""
    gramian = gramian.detach().double()
    norms = gramian.diagonal().clamp(min=0).sqrt()
    lengths = norms.outer(norms)
    return torch.where(lengths > 0, gramian / lengths, 0.0).clamp(-1, 1)


def conflict_rate(gramian: Tensor) -> float:
    """The share of pairs of gradients whose inner product is negative; 0 for a single gradient."""
    row, column = torch.triu_indices(len(gramian), len(gramian), offset=1, device=gramian.device)
    pairs = gramian[row, column]
    return float((pairs < 0).double().mean()) if len(pairs) else 0.0


def merged_norm(gramian: Tensor, weights: Tensor) -> float:
    """||sum_m w_m g_m|| from G G^T (M, M) and weights (M,): 0 at a Pareto-stationary point under MGDA's weights."""
    weights = weights.to(gramian.device, torch.float64)
    return float((weights @ gramian.detach().double() @ weights).clamp(min=0).sqrt())
