"""What an encoder returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Encoded:
    """States of a batch at the taps that were asked for.

    states: {tap: (R, T', D)}, such as `frontend` (before any state was masked), `block1` ... `blockN` and `output`, and whatever else a
    module tells there; lengths: (R,), valid states; mask: (R, T') bool, where states were masked, or None.
    """

    states: dict[str, Tensor]
    lengths: Tensor
    mask: Tensor | None = None
