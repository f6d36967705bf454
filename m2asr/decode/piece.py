"""A piece of a recording that is recognized at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Piece:
    """Samples (N,) of one channel from `start` seconds on."""

    start: float
    wave: np.ndarray
