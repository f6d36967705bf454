"""Maps from states to tokens that several objectives, and the encoder itself, may share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenHead(nn.Module):
    """A linear layer: logits (..., V) of the tokens from states (..., D)."""

    system_arguments = ("dim", "vocab")

    def __init__(self, dim: int, vocab: int) -> None:
        super().__init__()
        self.output = nn.Linear(dim, vocab)

    def forward(self, states: Tensor) -> Tensor:
        return self.output(states)


class TiedHead(nn.Module):
    """Logits (..., V) of the tokens from states (..., D): inner products with the vectors that an embedding has for them, over sqrt(D).

    So states of speech come to lie where the embedding puts the tokens that were spoken (Zhou et al. 2022, MMSpeech, section 3.2, without
    the root). The blank has a vector of its own.

    Args:
        embedding: the name of a module of the type embedding.
    """

    system_arguments = ("modules",)

    def __init__(self, modules: Mapping[str, nn.Module], embedding: str) -> None:
        super().__init__()
        self.calls = (embedding,)  # modules of the system that it calls; a head that does so trains them too
        self._embedding = (modules[embedding],)  # a tuple hides its parameters from nn.Module: they belong to the system
        self.blank = nn.Parameter(torch.zeros(modules[embedding].table.embedding_dim))

    def forward(self, states: Tensor, learn: bool = True) -> Tensor:
        """Without `learn` a gradient goes into the states alone."""
        embedding = self._embedding[0]
        vectors = embedding(torch.arange(1, embedding.vocab, device=states.device))  # (V - 1, D), called so that its gradient is weighted
        vectors = torch.cat([self.blank.unsqueeze(0).to(vectors.dtype), vectors]) / states.shape[-1] ** 0.5
        return F.linear(states, (vectors if learn else vectors.detach()).to(states.dtype))
