"""What an encoder returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Encoded:
    """States of a batch at named taps.

    states: {tap: (B, T', D)} with the taps `frontend`, `block1` ... `blockN` and `output`; lengths: (B,), valid states; mask: (B, T') bool,
    where front-end states were masked, or None; aux: whatever else a module or a view has to tell.
    """

    states: dict[str, Tensor]
    lengths: Tensor
    mask: Tensor | None = None
    aux: dict[str, Any] = field(default_factory=dict)
