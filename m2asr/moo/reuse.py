"""Decides when weights are computed, and keeps them for the steps between."""

from __future__ import annotations

from typing import Any


class Reuse:
    """Decides in which steps weights are computed from gradients, and keeps the last ones for the steps between.

    Due are the first step, every k-th one of a phase (the k-th, 2 k-th ..., where intervals of the log end, so that it sees gradients),
    and steps in which other objectives are active than the kept weights are for.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.weights: dict[str, float] | None = None  # of the objectives that were active

    def due(self, number: int, active: list[str]) -> bool:
        """Whether step `number` of a phase, from 0, needs gradients per objective."""
        return self.weights is None or (number + 1) % self.every == 0 or set(self.weights) != set(active)

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.weights = state["weights"]
