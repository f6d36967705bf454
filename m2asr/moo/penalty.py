"""The factor of the lower level's gradient."""

from __future__ import annotations

from collections.abc import Sequence

from m2asr.train_config import Penalty


class PenaltySchedule:
    """gamma as a function of the position in the run; without state, so a resumed run continues it exactly.

    The shared parameters move along (merged upper gradient) + gamma * (lower gradient): the penalty form of a problem whose
    lower-level loss is to be near its minimum. `start` to `end` linearly over a share of the run; or growing per step or epoch
    up to a cap (M2ASR, Saif et al. 2024: 0.002 per epoch from 0, cap 1, so 0.2 after 100 epochs).
    """

    def __init__(self, config: Penalty) -> None:
        self.config = config

    def gamma(self, step: float, epoch: int, total_steps: int) -> float:
        """gamma in step `step` (from 0) of `total_steps`, after `epoch` complete epochs; `end` is reached in the last step."""
        config = self.config
        if config.growth is not None:
            return min(config.max, config.start + config.growth * (step if config.every == "step" else epoch))
        progress = min(1.0, step / max(1.0, config.over * total_steps - 1))
        return config.start + (config.end - config.start) * progress if progress < 1 else config.end


def level_factors(gammas: Sequence[float], rescale: Sequence[bool]) -> list[float]:
    """The factor of each level's merged gradient, from the gammas of the levels below the first.

    theta moves along s_1 (G_1 + gamma_2 s_2 (G_2 + gamma_3 (...))), where s_l is 1, or min(1 / gamma_(l+1), 1) where level l + 1 is
    rescaled, so that the larger of both has factor 1.
    """
    factors = [1.0]
    for gamma, is_rescaled in zip(gammas, rescale, strict=True):
        scale = min(1 / gamma, 1.0) if is_rescaled and gamma > 0 else 1.0
        factors[-1] *= scale
        factors.append(factors[-1] * gamma)
    return factors
