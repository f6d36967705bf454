"""Projects onto the probability simplex."""

from __future__ import annotations

import torch
from torch import Tensor


def project_onto_simplex(point: Tensor) -> Tensor:
    """The nearest point to `point` (M,) that has no negative entry and sums to 1.

    With the entries sorted from large to small, t_i = (sum of the first i - 1) / i; entries above the last t_i that is
    below its own entry are kept and lowered by it (Duchi et al. 2008, "Efficient projections onto the l1-ball for learning
    in high dimensions", Figure 1; Chen and Ye 2011, "Projection onto a simplex").
    """
    point = point - point.max()  # the projection does not change, and large entries cannot swallow the 1
    ordered = point.sort(descending=True).values
    thresholds = (ordered.cumsum(0) - 1) / torch.arange(1, len(point) + 1, dtype=point.dtype, device=point.device)
    kept = int((ordered > thresholds).sum())
    return (point - thresholds[kept - 1]).clamp(min=0)
