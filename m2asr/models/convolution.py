"""The Conformer's convolution module."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.models.layers import Dropout


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise and pointwise convolution (Gulati et al. 2020), with LayerNorm in place of BatchNorm.

    (B, T, D) -> (B, T, D). LayerNorm keeps utterances apart; padded frames are zeroed before the convolution over time.
    """

    def __init__(self, dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.gate = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.inner_norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = F.glu(self.gate(self.norm(x)), dim=-1)  # (B, T, D)
        if mask is not None:
            x = x * mask.unsqueeze(-1)
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.output(F.silu(self.inner_norm(x))))
