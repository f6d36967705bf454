"""Encoder states of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Encoded:
    """States of a batch at the requested taps.

    states: {tap: (R, T', D)}; the taps are `frontend` (before any state was masked), `block1` ... `blockN`, `output`, and further ones that
    a module adds; lengths: (R,), numbers of valid states; mask: (R, T') bool, True where states were masked, or None.
    """

    states: dict[str, Tensor]
    lengths: Tensor
    mask: Tensor | None = None
