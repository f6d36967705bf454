"""The joiner of a transducer: logits of the next token from an encoder state and a predictor state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2asr.errors import UserError
from m2asr.limits import Width


class Joiner(nn.Module):
    """Logits W tanh(A x + B y) + b of a state x of the encoder and a state y of the predictor (Graves et al. 2013, section 3.2).

    `forward` ends before the tanh, as a loss never holds the logits of all pairs; `logits` goes on from there.

    Args:
        memory_dim: width of the encoder's states.
        predictor_dim: width of the predictor's states.
        vocab: number of tokens; 0 is the blank.
        dim: width of both projections.
    """

    system_arguments = ("memory_dim", "predictor_dim", "vocab")

    def __init__(self, memory_dim: int, predictor_dim: int, vocab: int, dim: Width = 256) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"dim: {dim} is below 1; give at least 1")
        self.encoded = nn.Linear(memory_dim, dim)
        self.predicted = nn.Linear(predictor_dim, dim, bias=False)
        self.output = nn.Linear(dim, vocab)

    def forward(self, states: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The projections of states (B, T, S) and of the predictor's states (B, U + 1, P), and weight and bias of the output layer.

        The output layer is returned so that a gradient for it leaves this module where those of the projections do.
        """
        return self.encoded(states), self.predicted(predicted), self.output.weight, self.output.bias

    def logits(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Logits (..., V) of projected states (..., dim) of both sides, which are broadcast."""
        return self.output(torch.tanh(encoded + predicted))
