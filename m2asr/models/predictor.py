"""Predictors of a transducer: states of the tokens so far, from which a joiner predicts the next token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.errors import UserError
from m2asr.limits import Depth, Kernel, ShareBelowOne, Width
from m2asr.models.layers import Dropout

BLANK = 0  # stands before the first token: no text contains it


@dataclass(frozen=True)
class PredictorState:
    """The memory of a predictor for the next token of W prefixes of each of B utterances; it is never changed in place.

    tensors: each (B, W, ...); a function of the tokens of each prefix alone.
    """

    tensors: tuple[Tensor, ...]

    def select(self, source: Tensor) -> PredictorState:
        """Prefix w of utterance b becomes that of its prefix source[b, w]; source is (B, W), also with another W than before."""
        rows = torch.arange(len(source), device=source.device)[:, None]
        return PredictorState(tuple(tensor[rows, source] for tensor in self.tensors))

    def rows(self, index: Tensor) -> PredictorState:
        """The state of the utterances `index` (R,) alone."""
        return PredictorState(tuple(tensor[index] for tensor in self.tensors))

    def with_rows(self, index: Tensor, other: PredictorState) -> PredictorState:
        """This state, with the state `other` of R utterances in the rows `index` (R,)."""
        pairs = zip(self.tensors, other.tensors, strict=True)
        return PredictorState(tuple(tensor.index_copy(0, index, changed) for tensor, changed in pairs))


class LSTMPredictor(nn.Module):
    """An embedding and an LSTM (Graves 2012, section 2.2): tokens (B, U) to states (B, U + 1, D), the first one before any token.

    No state sees the token that it predicts or a later one, so padding after a text changes none of its states.

    Args:
        vocab: number of tokens; 0 is the blank.
        layers: number of LSTM layers.
        dim: width D of the embedding and of the layers.
        dropout: rate on the embedding, between layers and on the states.
    """

    system_arguments = ("vocab",)

    def __init__(self, vocab: int, layers: Depth = 2, dim: Width = 256, dropout: ShareBelowOne = 0.1) -> None:
        super().__init__()
        _check(layers=layers, dim=dim, dropout=dropout)
        self.dim = dim
        self.embedding = nn.Embedding(vocab, dim)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(nn.LSTM(dim, dim, batch_first=True) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(F.pad(tokens, (1, 0), value=BLANK)))  # (B, U + 1, D)
        with torch.autocast(x.device.type, enabled=False):  # CPUs without bfloat16 in hardware have no such LSTM
            for layer in self.layers:
                x = self.dropout(layer(x)[0])
        return x

    def begin(self, batch: int, beam: int = 1) -> PredictorState:
        """The state before the blank that stands before the first token."""
        zeros = self.embedding.weight.new_zeros(batch, beam, 2 * len(self.layers), self.dim)  # hidden and cell of every layer
        return PredictorState((zeros,))

    def step(self, state: PredictorState, tokens: Tensor | None = None) -> tuple[Tensor, PredictorState]:
        """States (B, W, D) after the newest tokens (B, W), or before the first one with None; and the state for the next step."""
        past = state.tensors[0]  # (B, W, 2 L, D)
        tokens = torch.full(past.shape[:2], BLANK, device=past.device) if tokens is None else tokens
        x = self.embedding(tokens).flatten(0, 1)  # (B * W, D)
        vectors = past.flatten(0, 1).unbind(1)  # 2 L of (B * W, D)
        changed: list[Tensor] = []
        with torch.autocast(x.device.type, enabled=False):
            for number, layer in enumerate(self.layers):
                # a whole LSTM layer packs its weights anew at every call on a CPU, which takes longer than one step
                weights = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0
                x, cell = torch.lstm_cell(x, (vectors[2 * number], vectors[2 * number + 1]), *weights)
                changed += x, cell
        return x.view(*tokens.shape, -1), PredictorState((torch.stack(changed, dim=1).unflatten(0, tokens.shape),))


class StatelessPredictor(nn.Module):
    """An embedding and a convolution over the last n tokens (Ghodsi et al. 2020): tokens (B, U) to states (B, U + 1, D).

    Args:
        vocab: number of tokens; 0 is the blank.
        context: number n of tokens.
        dim: width D of the embedding and of the states.
        dropout: rate on the embedding.
    """

    system_arguments = ("vocab",)

    def __init__(self, vocab: int, context: Kernel = 2, dim: Width = 256, dropout: ShareBelowOne = 0.1) -> None:
        super().__init__()
        _check(context=context, dim=dim, dropout=dropout)
        self.dim, self.context = dim, context
        self.embedding = nn.Embedding(vocab, dim)
        self.dropout = Dropout(dropout)
        self.convolution = nn.Conv1d(dim, dim, context)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(F.pad(tokens, (self.context, 0), value=BLANK)))  # (B, n + U, D)
        return F.relu(self.convolution(x.transpose(1, 2)).transpose(1, 2))

    def begin(self, batch: int, beam: int = 1) -> PredictorState:
        """The state before the first token: blanks alone."""
        return PredictorState((torch.full((batch, beam, self.context), BLANK, device=self.embedding.weight.device),))

    def step(self, state: PredictorState, tokens: Tensor | None = None) -> tuple[Tensor, PredictorState]:
        """States (B, W, D) after the newest tokens (B, W), or before the first one with None; and the state for the next step."""
        last = state.tensors[0]  # (B, W, n)
        if tokens is not None:
            last = torch.cat([last[..., 1:], tokens.unsqueeze(2)], dim=2)
        x = self.convolution(self.embedding(last).flatten(0, 1).transpose(1, 2))  # (B * W, D, 1)
        return F.relu(x).view(*last.shape[:2], -1), PredictorState((last,))


def _check(dropout: float, **sizes: int) -> None:
    """Raise UserError where a size is below 1, or the rate of dropout is not in [0, 1)."""
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"{name}: {size} is below 1; give at least 1")
    if not 0 <= dropout < 1:
        raise UserError(f"dropout: {dropout} is not a rate from 0 to below 1")
