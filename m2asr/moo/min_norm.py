"""The shortest vector in the convex hull of some vectors, from their inner products alone."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-10  # relative to each squared norm: makes the weights unique, e.g. equal for equal gradients


def min_norm_weights(gramian: Tensor) -> Tensor:
    """Weights on the simplex that minimise w^T G w, i.e. the length of sum_m w_m g_m.

    Wolfe's active-set algorithm (Wolfe 1976, "Finding the nearest point in a polytope"), exact after finitely many steps:
    the vector with the smallest product with the present sum joins the support, the affine hull of the support is solved, and
    vectors whose weight would become negative leave it. Where several weights reach the minimum, those with the least
    sum_m w_m^2 |g_m|^2 are returned, so the order of the vectors does not matter.

    Args:
        gramian: inner products g_i . g_j (M, M), symmetric, positive semi-definite, of any scale and rank.

    Returns:
        Weights (M,), float64 on the CPU. `kkt_residual` of them is at most 1e-8.
    """
    gramian = gramian.detach().to("cpu", torch.float64)
    size = len(gramian)
    zero = (gramian.diagonal() <= 0).double()
    if zero.any():
        return zero / zero.sum()
    gramian = (gramian + gramian.T) / (2 * gramian.diagonal().max())
    gramian.diagonal().mul_(1 + RIDGE)

    weights = torch.zeros(size, dtype=torch.float64)
    weights[gramian.diagonal().argmin()] = 1
    value = weights @ gramian @ weights
    for _ in range(100 * size):  # far more than it takes: each pass lowers the value, and there are finitely many supports
        entering = int((gramian @ weights).argmin())
        candidate = _minimise_with(gramian, weights, entering)
        candidate_value = candidate @ gramian @ candidate
        if not candidate_value < value:
            break
        weights, value = candidate, candidate_value
    return weights / weights.sum()


def kkt_residual(gramian: Tensor, weights: Tensor) -> float:
    """How far `weights` (M,) are from optimal: w^T G w - min_m (G w)_m relative to the largest squared norm; 0 at the optimum.

    On the simplex the Karush-Kuhn-Tucker conditions say that no (G w)_m is below w^T G w.
    """
    gramian = gramian.double().cpu()
    scale = gramian.diagonal().max()
    slopes = gramian @ weights
    return float((weights @ slopes - slopes.min()) / scale) if scale > 0 else 0.0


def _minimise_with(gramian: Tensor, weights: Tensor, entering: int) -> Tensor:
    """Minimise over the hull of the present support and one more vector; vectors that stand in the way leave the support."""
    inside = weights > 0
    inside[entering] = True
    while True:
        target = _affine_minimiser(gramian, inside)
        if (target[inside] > 0).all():
            return target
        blocking = inside & (target <= 0)
        ratios = torch.where(blocking, weights / (weights - target), torch.inf)
        ratios = ratios.nan_to_num(nan=0.0, posinf=torch.inf)  # 0 / 0: already at the border
        leaving = int(ratios.argmin())
        weights = (weights + ratios[leaving] * (target - weights)).clamp(min=0)
        weights[leaving] = 0
        inside[leaving] = False


def _affine_minimiser(gramian: Tensor, inside: Tensor) -> Tensor:
    """Minimise w^T G w over w with sum 1 and support `inside`, of any sign: w is proportional to G_S^-1 1."""
    index = inside.nonzero().squeeze(1)
    solution = torch.linalg.solve(gramian[index][:, index], torch.ones(len(index), dtype=torch.float64))
    return torch.zeros(len(inside), dtype=torch.float64).index_put((index,), solution / solution.sum())
