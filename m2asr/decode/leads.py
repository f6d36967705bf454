"""Which of several objectives that write the same is the one that search reads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from m2asr.train_config import TrainConfig


def by_preference(config: TrainConfig, names: Iterable[str]) -> list[str]:
    """Objectives in the order in which search prefers them: those with `lead`, then from the output of the encoder down to its front end.

    Equal ones stay in the order of the config.
    """

    def rank(name: str) -> tuple[bool, float]:
        objective = config.objectives[name]
        return not objective.lead, -_depth(objective.options().get("tap", "output"))

    return sorted(names, key=rank)


def langid_objective(config: TrainConfig) -> str | None:
    """The objective that tells which language is spoken, None without one."""
    names = [name for name, objective in config.objectives.items() if objective.type == "langid" and objective.decode]
    return next(iter(by_preference(config, names)), None)


def _depth(tap: str) -> float:
    """How late states come in the encoder: those of block 3 after those of block 2, the output last."""
    block = re.fullmatch(r"block(\d+)", tap)
    return math.inf if tap == "output" else float(block[1]) if block else 0.0
