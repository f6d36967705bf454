"""Tables of the scores of next tokens; prefixes with the same state of a text model share one row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

MEMORY = 1 << 28  # bytes of a table
LEAST_ROWS = 4096  # more than the prefixes of any batch

State = Hashable  # the memory of a text model of a prefix


class Following(Protocol):
    """The states after the tokens that may follow a state."""

    def __getitem__(self, token: int) -> State: ...


class PrefixModel(Protocol):
    """Scores texts token by token."""

    vocab: int  # tokens, blank and end included
    start: State  # of the empty prefix
    most_gain: float  # the most that a token can score: 0 for log-probabilities

    def expand(self, states: Sequence[State]) -> tuple[np.ndarray, Sequence[Following]]:
        """The scores of every token after N states (N, V), float32, and N look-ups of the state after a token.

        The last token is the end; its score is that of the finished text.
        """


class PrefixTable:
    """A table with a row for every state that a search has met: the scores of all tokens, and the row after each token.

    A row is computed when it is first needed. A search meets the same few states again and again, so most of its steps are look-ups. A full
    table is cleared, except for the rows in use.
    """

    def __init__(self, model: PrefixModel, device: torch.device | str = "cpu", memory: int = MEMORY) -> None:
        self.model, self.device = model, torch.device(device)
        self.capacity = max(LEAST_ROWS, memory // (32 * model.vocab))  # 4 bytes of a score, 8 of a row, 8 of a state, and as many again
        self._clear(256)

    @torch.inference_mode()  # tensors made in inference mode can only be changed in it
    def start(self) -> int:
        """The row of the empty prefix."""
        return self._rows([self.model.start])[0]

    def gains(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The score (B, W, K) that each of the tokens (B, K) adds to the prefixes with these rows (B, W)."""
        return self.scores[rows[:, :, None], tokens[:, None, :]]

    @torch.inference_mode()
    def advance(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The rows (B, W) of prefixes with `rows` (B, W) extended by `tokens` (B, W); with token -1 the row stays."""
        next_rows = self.next_row[rows, tokens]  # the last column, that of -1, holds the row itself
        if int(next_rows.min()) >= 0:
            return next_rows
        missing = next_rows < 0
        rows_before, token = rows[missing], tokens[missing]
        states = [self.followers[row][number] for row, number in zip(rows_before.tolist(), token.tolist(), strict=True)]
        if self.count + len(states) > self.capacity:
            return self._restart(next_rows, missing, states)
        new_rows = torch.tensor(self._rows(states), device=self.device)
        self.next_row[rows_before, token] = new_rows
        return next_rows.masked_scatter(missing, new_rows)

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.states)

    def _rows(self, states: Sequence[State]) -> list[int]:
        """The rows of states; missing rows are computed."""
        new_states = [state for state in dict.fromkeys(states) if state not in self.row_of]
        if new_states:
            first, last = self.count, self.count + len(new_states)
            self._grow(last)
            scores, followers = self.model.expand(new_states)
            self.row_of.update(zip(new_states, range(first, last), strict=True))
            self.states += new_states
            self.followers += followers
            self.scores[first:last] = torch.from_numpy(scores).to(self.device)
            self.next_row[first:last] = -1
            self.next_row[first:last, -1] = torch.arange(first, last, device=self.device)
        return [self.row_of[state] for state in states]

    def _restart(self, next_rows: Tensor, missing: Tensor, states: Sequence[State]) -> Tensor:
        """Clear the table and fill it with the states in use; returns the new rows.

        `next_rows` (B, W) has the rows of prefixes in the old table; where rows are `missing`, `states` has their states in order.
        """
        missing_states = iter(states)
        rows = zip(next_rows.flatten().tolist(), missing.flatten().tolist(), strict=True)
        states_in_use = [next(missing_states) if absent else self.states[row] for row, absent in rows]
        self._clear(len(self.scores))
        return torch.tensor(self._rows(states_in_use), device=self.device).view_as(next_rows)

    def _clear(self, size: int) -> None:
        self.row_of: dict[State, int] = {}  # state -> row
        self.states: list[State] = []  # row -> state
        self.followers: list[Following] = []  # row -> look-up of the states that follow
        self.scores = torch.zeros(size, self.model.vocab, device=self.device)
        self.next_row = torch.zeros(size, self.model.vocab + 1, dtype=torch.long, device=self.device)

    def _grow(self, rows: int) -> None:
        if rows <= len(self.scores):
            return
        for name in ("scores", "next_row"):
            table = getattr(self, name)
            larger = table.new_zeros(max(2 * len(table), rows), table.shape[1])
            larger[: len(table)] = table
            setattr(self, name, larger)
