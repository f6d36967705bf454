"""Multi-objective gradient descent with corrected gradients."""

from __future__ import annotations

from typing import Literal

from m2asr.errors import UserError
from m2asr.limits import Factor, Positive, PositiveShare
from m2asr.moo.carried import CarriedWeights


class MoCo(CarriedWeights):
    """Weights and update from running means of the gradients, so that the noise of single batches cancels.

    y_m <- y_m - beta (y_m - g_m); lambda <- Proj(lambda - step (Y Y^T lambda + rho lambda)); the shared parameters move
    along sum_m lambda_m y_m (Fernando et al. 2023, "Mitigating gradient bias in multi-objective learning: a provably
    convergent approach", Algorithm 1). An objective's y starts at its first gradient instead of 0. Keeps M more gradients in
    memory, 2 M + 1 in all, and in the checkpoint. Where weights are used again (`every`), they multiply the step's own gradients.

    Args:
        objectives: names of the objectives.
        step: step size of lambda; with `scale: auto` free of units.
        rho: strength of the pull towards uniform weights.
        scale: `auto` divides Y Y^T by a running mean of squared lengths, `each` every y by its own length, as in MoDo; `none` is the paper.
        beta: share of the newest gradient in its mean; 1 tracks nothing.
    """

    tracks = True

    def __init__(
        self,
        objectives: list[str],
        step: Positive = 0.1,
        rho: Factor = 0.0,
        scale: Literal["auto", "each", "none"] = "auto",
        beta: PositiveShare = 0.1,
    ) -> None:
        super().__init__(objectives, step, rho, scale)
        if not 0 < beta <= 1:
            raise UserError(f"weighting.beta: {beta} is not possible; give a number above 0, at most 1")
        self.beta = beta
