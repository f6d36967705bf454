"""A linear layer from states to tokens that several objectives, and the encoder itself, may share."""

from __future__ import annotations

from torch import Tensor, nn


class TokenHead(nn.Module):
    """Logits (..., V) of the tokens from states (..., D)."""

    system_arguments = ("dim", "vocab")

    def __init__(self, dim: int, vocab: int) -> None:
        super().__init__()
        self.output = nn.Linear(dim, vocab)

    def forward(self, states: Tensor) -> Tensor:
        return self.output(states)
