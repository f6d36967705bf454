"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A token sequence and its score: the log-probability, and of it `text_score`, what text models added."""

    tokens: list[int]
    score: float
    text_score: float = 0.0
