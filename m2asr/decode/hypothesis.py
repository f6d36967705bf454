"""The result of a search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A token sequence and its score; `text_score` is the share of the score that text models and bonuses added."""

    tokens: list[int]
    score: float
    text_score: float = 0.0
