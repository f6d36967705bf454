"""The result of a search."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A token sequence and its score; `text_score` is the share of the score that text models and bonuses added."""

    tokens: list[int]
    score: float
    text_score: float = 0.0


NOTHING = Hypothesis([], -math.inf)  # where no score was finite


def warn_if_not_finite(hypothesis: Hypothesis, name: str) -> None:
    """Warn on stderr that the text of `name` is meaningless, where its score is infinite or not a number."""
    if not math.isfinite(hypothesis.score):
        reason = "is the recording damaged or far too loud, or has the training diverged?"
        print(f"warning: {name}: its scores are not finite, so its text is meaningless; {reason}", file=sys.stderr)
