"""The keys and values of the tokens so far, for a decoder that goes step by step."""

from __future__ import annotations

import torch
from torch import Tensor


class PastKeyValues:
    """Keys and values of N prefixes, which grow by one token in a step and may be reordered.

    They lie in a buffer (2, U, N, H, D/H) whose capacity doubles when it is full, and reordering copies them into a second one: no step
    allocates memory for all tokens anew.
    """

    def __init__(self) -> None:
        self.length = 0
        self.buffer = self.spare = torch.empty(2, 0, 0)

    @property
    def count(self) -> int:
        """The number of prefixes; 0 before the first token."""
        return self.buffer.shape[2]

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of the next token, (N, H, 1, D/H) each; returns those of all tokens, (N, H, U, D/H) each."""
        if self.length == self.buffer.shape[1]:
            rows, heads, _, dim = key.shape
            grown = key.new_empty(2, max(16, 2 * self.length), rows, heads, dim)
            if self.length:
                grown[:, : self.length] = self.buffer
            self.buffer, self.spare = grown, torch.empty_like(grown)
        for index, states in enumerate((key, value)):
            self.buffer[index, self.length] = states.squeeze(2)
        self.length += 1
        keys, values = self.buffer[:, : self.length].permute(0, 2, 3, 1, 4)
        return keys, values

    def select(self, source: Tensor) -> None:
        """Prefix n takes over the past of prefix source[n]; source is (N,)."""
        for index in range(2 if self.length else 0):
            torch.index_select(self.buffer[index, : self.length], 1, source, out=self.spare[index, : self.length])
        self.buffer, self.spare = self.spare, self.buffer

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the prefixes: `rows` are their indices."""
        self.buffer = self.buffer[:, :, rows]
        self.spare = torch.empty_like(self.buffer)
