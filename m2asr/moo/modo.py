"""Multi-objective gradient descent with double sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.limits import Factor, Positive
from m2asr.moo.carried import CarriedWeights


class MoDo(CarriedWeights):
    """Weights that follow MGDA's through noise: one projected gradient step per batch pair, carried from step to step.

    lambda <- Proj(lambda - step (G_1 G_2^T lambda + rho lambda)), started at 1 / M, where G_1 and G_2 come from two independent
    batches, so the product has no bias from squared noise. The shared parameters then move along lambda (G_1 + G_2) / 2 with
    the new lambda, or along lambda G_3 of a third batch (Chen et al. 2023, "Three-way trade-off in multi-objective learning:
    optimization, generalization and conflict-avoidance", the MoDo algorithm). step 0 is static uniform weighting; a large step
    approaches MGDA on every batch.

    Args:
        objectives: names of the objectives.
        step: step size of lambda; with `scale: auto` free of units.
        rho: strength of the pull towards uniform weights.
        scale: `auto` divides the products by one running mean of squared gradient norms, common to all objectives, which
            leaves the limit of lambda where it is (for rho 0); `each` every gradient by its own running length; `none` is the paper.
        samples: independent batches per step, 2 or 3; `scale: each` takes 2.

    Raises UserError for three samples with `scale: each`.
    """

    def __init__(
        self,
        objectives: list[str],
        step: Positive = 0.1,
        rho: Factor = 0.0,
        scale: Literal["auto", "each", "none"] = "auto",
        samples: Literal[2, 3] = 2,
    ) -> None:
        super().__init__(objectives, step, rho, scale)
        if samples == 3 and scale == "each":  # the second batch is weighted before the lengths of its gradients are known
            raise UserError("weighting.scale: `each` needs `samples: 2`")
        self.draws = samples

    def current(self, active: Sequence[int] | None = None) -> Tensor:
        """lambda (M,) before this step, 0 for objectives that are not active; sums to 1."""
        index = self.index(active)
        weights = torch.zeros_like(self._lambda)
        weights[index] = self._inside(index)
        return weights

    def weights_along(self, products: Tensor, squared_norms: Tensor, active: Sequence[int] | None = None) -> Tensor:
        """`weights` from `products` = G_1 (G_2^T current) (M,): one backward pass on the second batch, weighted by `current`."""
        # every column of the cross-Gramian may be G_1 G_2^T current, because current sums to 1
        return self.weights(products[:, None].expand(-1, len(products)), active, squared_norms)
