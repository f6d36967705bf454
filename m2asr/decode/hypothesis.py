"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A token sequence and its log-probability."""

    tokens: list[int]
    score: float
