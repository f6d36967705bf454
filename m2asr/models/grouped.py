"""A feed-forward network per expert, applied to the rows that chose it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def grouped_feed_forward(
    x: Tensor, experts: Tensor, wide: Tensor, wide_bias: Tensor, narrow: Tensor, narrow_bias: Tensor, dropout: nn.Module
) -> Tensor:
    """The outputs (N, D) of each row's expert (N,) on rows x (N, D); rows whose expert is E, which is none, get zeros.

    wide: (E, H, D), wide_bias: (E, H), narrow: (E, D, H), narrow_bias: (E, D).
    """
    outputs, rows = [x.new_zeros(0, narrow.shape[1])], [experts.new_zeros(0)]
    for expert in range(len(wide)):
        rows.append((experts == expert).nonzero().squeeze(1))
        hidden = dropout(F.silu(F.linear(x[rows[-1]], wide[expert], wide_bias[expert])))
        outputs.append(F.linear(hidden, narrow[expert], narrow_bias[expert]))
    output = torch.cat(outputs)
    return output.new_zeros(x.shape[0], narrow.shape[1]).index_copy(0, torch.cat(rows), output)
