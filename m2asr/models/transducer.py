"""Greedy search of a transducer over a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2asr.models.predictor import BLANK


def greedy(
    states: Tensor, lengths: Tensor, predictor: nn.Module, joiner: nn.Module, max_symbols: int
) -> tuple[list[list[int]], list[float]]:
    """The tokens of every utterance and the log-probability of their alignment.

    Every cell takes its most probable symbol: a token, which moves the predictor on, or the blank, which goes on to the next state. After
    `max_symbols` tokens at one state only the blank is left. Utterances of the batch are at different states at the same time, and the
    predictor runs only for those with a new token. states (B, T, S), lengths (B,); an utterance without a state gets no token.
    """
    encoded, device = joiner.encoded(states), states.device  # (B, T, J)
    step, state = predictor.step(predictor.begin(len(states)))
    predicted = joiner.predicted(step[:, 0])  # (B, J)
    position, symbols = torch.zeros_like(lengths), torch.zeros_like(lengths)  # (B,) the state, and the tokens written at it
    scores = torch.zeros(len(states), dtype=torch.float64, device=device)
    texts: list[list[int]] = [[] for _ in range(len(states))]
    rows = torch.nonzero(lengths > 0).squeeze(1)  # (R,) utterances that are not at their end
    while len(rows):
        logits = joiner.logits(encoded[rows, position[rows]], predicted[rows])  # (R, V)
        log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        tokens = log_probs.argmax(-1).masked_fill_(symbols[rows] >= max_symbols, BLANK)  # (R,)
        scores[rows] += log_probs.gather(1, tokens[:, None]).squeeze(1).double()
        blank = tokens == BLANK
        position[rows] += blank
        symbols[rows] = torch.where(blank, 0, symbols[rows] + 1)
        written, tokens = rows[~blank], tokens[~blank]
        if len(written):
            for row, token in zip(written.tolist(), tokens.tolist(), strict=True):
                texts[row].append(token)
            step, after = predictor.step(state.rows(written), tokens[:, None])
            state = state.with_rows(written, after)
            predicted = predicted.index_copy(0, written, joiner.predicted(step[:, 0]))
        rows = rows[position[rows] < lengths[rows]]
    return texts, scores.tolist()
