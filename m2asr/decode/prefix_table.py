"""Scores of the next tokens by what a text model remembers of a prefix, computed once for all prefixes that it treats alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

MEMORY = 1 << 28  # bytes of a table
LEAST_ROWS = 4096  # more than the prefixes of any batch

State = Hashable  # what a model remembers of a prefix


class PrefixModel(Protocol):
    """Scores texts token by token."""

    vocab: int  # tokens, blank and end included
    start: State  # of the empty prefix
    most_gain: float  # the most that a token can score: 0 for log-probabilities

    def scores(self, states: Sequence[State]) -> np.ndarray:
        """Scores (N, V), float32, of every token after N states; at the last token, the end, that of the finished text."""

    def next(self, states: Sequence[State], tokens: np.ndarray) -> Sequence[State]:
        """The N states after N states and tokens (N,)."""


class PrefixTable:
    """Rows of scores and of following rows, one per state that was met; rows are made when they are asked for.

    A search meets few states again and again, so a step of it is a look-up. A table that is full begins anew with the rows in use.
    """

    def __init__(self, model: PrefixModel, device: torch.device | str = "cpu", memory: int = MEMORY) -> None:
        self.model, self.device = model, torch.device(device)
        self.capacity = max(LEAST_ROWS, memory // (12 * model.vocab))  # bytes of a score and of the number of a row
        self._clear(256)

    def start(self) -> int:
        """The row of the empty prefix."""
        return int(self._rows([self.model.start])[0])

    def gains(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The score (B, W, K) that each of the tokens (B, K) adds to the prefixes with these rows (B, W)."""
        return self.scores[rows[:, :, None], tokens[:, None, :]]

    def advance(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The rows (B, W) of the prefixes with rows (B, W) after one token more (B, W), -1 for none."""
        after = self.following[rows, tokens]  # the last column, that of -1, leads back
        if int(after.min()) >= 0:
            return after
        missing = after < 0
        pairs = torch.stack([rows[missing], tokens[missing]]).cpu().numpy()
        pairs, places = np.unique(pairs, axis=1, return_inverse=True)
        places = places.reshape(-1)
        states = self.model.next([self.states[row] for row in pairs[0].tolist()], pairs[1])
        if self.count + len(states) > self.capacity:
            return self._restart(after, missing, [states[place] for place in places.tolist()])
        made = torch.from_numpy(self._rows(states))
        self.following[torch.from_numpy(pairs[0]), torch.from_numpy(pairs[1])] = made.to(self.device)
        return after.masked_scatter(missing, made[torch.from_numpy(places)].to(self.device))

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.states)

    def _rows(self, states: Sequence[State]) -> np.ndarray:
        """The rows of states, made where they are missing."""
        fresh = [state for state in dict.fromkeys(states) if state not in self.numbers]
        if fresh:
            first, last = self.count, self.count + len(fresh)
            self._grow(last)
            self.numbers.update(zip(fresh, range(first, last), strict=True))
            self.states += fresh
            self.scores[first:last] = torch.from_numpy(self.model.scores(fresh)).to(self.device)
            self.following[first:last] = -1
            self.following[first:last, -1] = torch.arange(first, last, device=self.device)
        return np.array([self.numbers[state] for state in states], dtype=np.int64)

    def _restart(self, after: Tensor, missing: Tensor, states: Sequence[State]) -> Tensor:
        """Begin anew with the states of prefixes whose rows are `after`, or whose states are given where they are missing."""
        given = iter(states)
        rows = zip(after.flatten().tolist(), missing.flatten().tolist(), strict=True)
        used = [next(given) if absent else self.states[row] for row, absent in rows]
        self._clear(len(self.scores))
        return torch.from_numpy(self._rows(used)).to(self.device).view_as(after)

    def _clear(self, size: int) -> None:
        self.numbers: dict[State, int] = {}  # state -> row
        self.states: list[State] = []  # row -> state
        self.scores = torch.zeros(size, self.model.vocab, device=self.device)
        self.following = torch.zeros(size, self.model.vocab + 1, dtype=torch.long, device=self.device)

    def _grow(self, rows: int) -> None:
        if rows <= len(self.scores):
            return
        for name in ("scores", "following"):
            old = getattr(self, name)
            larger = old.new_zeros(max(2 * len(old), rows), old.shape[1])
            larger[: len(old)] = old
            setattr(self, name, larger)
