"""Token embeddings as input of an encoder, and the vector that replaces masked states."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """A vector for every token, (B, U) -> (B, U, D), as input states of an encoder; positions are left to the encoder's attention.

    Args:
        vocab: number of tokens.
        dim: width D of the encoder.
        tokens: the tokenizer whose tokens it reads.
    """

    system_arguments = ("vocab", "dim")

    def __init__(self, vocab: int, dim: int, tokens: str) -> None:
        super().__init__()
        self.vocab, self.tokens = vocab, tokens
        self.table = nn.Embedding(vocab, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table(tokens)


class MaskVector(nn.Module):
    """A learned vector (D,) that replaces masked states (Baevski et al. 2020, wav2vec 2.0, section 3.1)."""

    system_arguments = ("dim",)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(dim).uniform_())

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (B, T', D) with this vector where `mask` (B, T') is True."""
        return torch.where(mask.unsqueeze(-1), self.vector.to(states.dtype), states)
