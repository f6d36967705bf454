"""The multiple-gradient descent algorithm."""

from __future__ import annotations

from torch import Tensor

from m2asr.moo.min_norm import min_norm_weights
from m2asr.moo.weighting import Weighting


class MGDA(Weighting):
    """Move along the shortest vector in the convex hull of the gradients: it lowers every objective, or is 0.

    argmin over the simplex of ||G^T w||^2 (Désidéri 2012, "Multiple-gradient descent algorithm (MGDA) for multiobjective
    optimization"; for networks Sener and Koltun 2018, "Multi-task learning as multi-objective optimization"), solved exactly.
    On noisy gradients of one batch these weights are biased; MoDo is the method for that case.
    """

    def solve(self, active: Tensor, gramian: Tensor, squared_norms: Tensor) -> Tensor:
        return min_norm_weights(gramian)
