"""Divisors that make the gradients of different objectives comparable before they are weighted."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalize = Literal["none", "l2", "loss", "loss+"]


def gradient_lengths(how: Normalize, squared_norms: Tensor, losses: Tensor | None) -> Tensor:
    """The divisor of each gradient, n (A,): `l2` its length, `loss` its loss, `loss+` their product; 1 where that is 0.

    Weights w' of the gradients g_m / n_m become w_m = w'_m / n_m of the gradients themselves, divided by their sum, so the
    update has the direction that the weighting chose, and the length that weights with the sum 1 give (Sener and Koltun 2018,
    "Multi-task learning as multi-objective optimization", the normalizations of its released code).
    """
    lengths = torch.ones_like(squared_norms)
    if how in ("l2", "loss+"):
        lengths = squared_norms.clamp(min=0).sqrt()
    if how in ("loss", "loss+"):
        if losses is None:
            raise ValueError(f"normalize {how} needs the losses of the step")
        lengths = lengths * losses
    return torch.where(lengths > 0, lengths, 1.0)
