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
        masks: whether some of the tokens may be hidden by a mask, which has the number `vocab`, and a vector beside the table: so the table
            is the same with and without, and a head can share it.
    """

    system_arguments = ("vocab", "dim", "masks")

    def __init__(self, vocab: int, dim: int, tokens: str, masks: bool = False) -> None:
        super().__init__()
        self.vocab, self.tokens = vocab, tokens
        self.table = nn.Embedding(vocab, dim)
        self.mask = nn.Parameter(torch.randn(dim)) if masks else None  # drawn as the rows of the table

    def forward(self, tokens: Tensor) -> Tensor:
        if self.mask is None:
            return self.table(tokens)
        masked = tokens == self.vocab
        return torch.where(masked.unsqueeze(-1), self.mask, self.table(tokens.masked_fill(masked, 0)))


class MaskVector(nn.Module):
    """A learned vector (D,) that replaces masked states (Baevski et al. 2020, wav2vec 2.0, section 3.1)."""

    system_arguments = ("dim",)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(dim).uniform_())

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (B, T', D) with this vector where `mask` (B, T') is True."""
        return torch.where(mask.unsqueeze(-1), self.vector.to(states.dtype), states)
