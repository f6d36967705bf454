"""Choose the objective that search reads where several objectives write the same text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from m2asr.train_config import TrainConfig


def by_preference(config: TrainConfig, names: Iterable[str]) -> list[str]:
    """Sort objectives by the preference of search: first those with `lead`, then the rest, from the latest tap to the earliest.

    Objectives with equal rank stay in the order of the config.
    """

    def rank(name: str) -> tuple[bool, float]:
        objective = config.objectives[name]
        return not objective.lead, -_depth(objective.options().get("tap", "output"))

    return sorted(names, key=rank)


def langid_objective(config: TrainConfig) -> str | None:
    """The objective that identifies the language, or None."""
    names = [name for name, objective in config.objectives.items() if objective.type == "langid" and objective.decode]
    return next(iter(by_preference(config, names)), None)


def _depth(tap: str) -> float:
    """The depth of a tap in the encoder: that of block 3 is above that of block 2, the output is the deepest."""
    block = re.fullmatch(r"block(\d+)", tap)
    return math.inf if tap == "output" else float(block[1]) if block else 0.0
