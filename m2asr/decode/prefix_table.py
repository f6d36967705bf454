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


class Following(Protocol):
    """The states after the tokens that may follow a state."""

    def __getitem__(self, token: int) -> State: ...


class PrefixModel(Protocol):
    """Scores texts token by token."""

    vocab: int  # tokens, blank and end included
    start: State  # of the empty prefix
    most_gain: float  # the most that a token can score: 0 for log-probabilities

    def expand(self, states: Sequence[State]) -> tuple[np.ndarray, Sequence[Following]]:
        """What comes after N states: scores (N, V), float32, of every token, at the last one, the end, that of the finished text; and N
        look-ups that give the state after a token."""


class PrefixTable:
    """Rows of scores and of following rows, one per state that was met; rows are made when they are asked for.

    A search meets few states again and again, so a step of it is a look-up. A table that is full begins anew with the rows in use.
    """

    def __init__(self, model: PrefixModel, device: torch.device | str = "cpu", memory: int = MEMORY) -> None:
        self.model, self.device = model, torch.device(device)
        self.capacity = max(LEAST_ROWS, memory // (32 * model.vocab))  # 4 bytes of a score, 8 of a row, 8 of a state, and as many again
        self._clear(256)

    @torch.inference_mode()  # what a search in that mode has left can be changed in no other
    def start(self) -> int:
        """The row of the empty prefix."""
        return self._rows([self.model.start])[0]

    def gains(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The score (B, W, K) that each of the tokens (B, K) adds to the prefixes with these rows (B, W)."""
        return self.scores[rows[:, :, None], tokens[:, None, :]]

    @torch.inference_mode()
    def advance(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """The rows (B, W) of the prefixes with rows (B, W) after one token more (B, W), -1 for none."""
        after = self.following[rows, tokens]  # the last column, that of -1, leads back
        if int(after.min()) >= 0:
            return after
        missing = after < 0
        before, token = rows[missing], tokens[missing]
        states = [self.after[row][number] for row, number in zip(before.tolist(), token.tolist(), strict=True)]
        if self.count + len(states) > self.capacity:
            return self._restart(after, missing, states)
        made = torch.tensor(self._rows(states), device=self.device)
        self.following[before, token] = made
        return after.masked_scatter(missing, made)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.states)

    def _rows(self, states: Sequence[State]) -> list[int]:
        """The rows of states, made where they are missing."""
        fresh = [state for state in dict.fromkeys(states) if state not in self.numbers]
        if fresh:
            first, last = self.count, self.count + len(fresh)
            self._grow(last)
            scores, after = self.model.expand(fresh)
            self.numbers.update(zip(fresh, range(first, last), strict=True))
            self.states += fresh
            self.after += after
            self.scores[first:last] = torch.from_numpy(scores).to(self.device)
            self.following[first:last] = -1
            self.following[first:last, -1] = torch.arange(first, last, device=self.device)
        return [self.numbers[state] for state in states]

    def _restart(self, after: Tensor, missing: Tensor, states: Sequence[State]) -> Tensor:
        """Begin anew with the states of prefixes whose rows are `after`, or whose states are given where they are missing."""
        given = iter(states)
        rows = zip(after.flatten().tolist(), missing.flatten().tolist(), strict=True)
        used = [next(given) if absent else self.states[row] for row, absent in rows]
        self._clear(len(self.scores))
        return torch.tensor(self._rows(used), device=self.device).view_as(after)

    def _clear(self, size: int) -> None:
        self.numbers: dict[State, int] = {}  # state -> row
        self.states: list[State] = []  # row -> state
        self.after: list[Following] = []  # row -> the states that follow
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
