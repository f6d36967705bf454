"""The factor of the lower level's gradient."""

from __future__ import annotations

from m2asr.config import Penalty


class PenaltySchedule:
    """gamma as a function of the position in the run; without state, so a resumed run continues it exactly.

    The shared parameters move along (merged upper gradient) + gamma * (lower gradient): the penalty form of a problem whose
    lower-level loss is to be near its minimum. `start` to `end` linearly over a share of the run; or growing per step or epoch
    up to a cap (M2ASR, Saif et al. 2024: 0.002 per epoch from 0, cap 1, so 0.2 after 100 epochs).
    """

    def __init__(self, config: Penalty) -> None:
        self.config = config

    def gamma(self, step: int, epoch: int, total_steps: int) -> float:
        """gamma in step `step` (from 0) of `total_steps`, after `epoch` complete epochs; `end` is reached in the last step."""
        config = self.config
        if config.growth is not None:
            return min(config.max, config.start + config.growth * (step if config.every == "step" else epoch))
        progress = min(1.0, step / max(1.0, config.over * total_steps - 1))
        return config.start + (config.end - config.start) * progress if progress < 1 else config.end
