"""What a search adds to the scores of an acoustic model: language models, hot words, a bonus per token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m2asr.decode.prefix_table import PrefixTable

States = list[Tensor]  # of every prefix, a tensor (B, W) for each part


class Fusion:
    """Shallow fusion (Gulcehre et al. 2015): score = model + sum of weight * text model + bonus * tokens."""

    def __init__(self, parts: Sequence[tuple[float, PrefixTable]] = (), bonus: float = 0.0) -> None:
        self.parts = [(weight, table) for weight, table in parts if weight]
        self.bonus = bonus

    @property
    def most_gain(self) -> float:
        """The most that a token can add to a score."""
        return max(self.bonus, 0.0) + sum(weight * table.model.most_gain for weight, table in self.parts)

    def __bool__(self) -> bool:
        """Whether it changes any score."""
        return bool(self.parts or self.bonus)

    def start(self, batch: int, beam: int, device: torch.device) -> States:
        """The states of empty prefixes, W for each of B utterances."""
        return [torch.full((batch, beam), table.start(), dtype=torch.long, device=device) for _, table in self.parts]

    def gains(self, states: States, tokens: Tensor) -> Tensor:
        """What each of the tokens (B, K) adds to the prefixes: (B, W, K) or, without text models, a number."""
        total = torch.full((), self.bonus, device=tokens.device)
        for (weight, table), rows in zip(self.parts, states, strict=True):
            total = torch.add(total, table.gains(rows, tokens), alpha=weight)
        return total

    def advance(self, states: States, source: Tensor, tokens: Tensor) -> States:
        """The states of prefixes source[b, w] with token[b, w] added, -1 for none; both (B, W)."""
        return [table.advance(rows.gather(1, source), tokens) for (_, table), rows in zip(self.parts, states, strict=True)]

    def ends(self, states: States) -> Tensor | float:
        """What the end of the text adds to the prefixes (B, W)."""
        total: Tensor | float = 0.0
        for (weight, table), rows in zip(self.parts, states, strict=True):
            total = total + weight * table.scores[rows, -1].double()
        return total


class FusedPrefix:
    """Fusion as a scorer of prefixes in a search that writes token by token; `batch` utterances, `beam` prefixes of each."""

    def __init__(self, fusion: Fusion, batch: int, beam: int, vocab: int, device: torch.device) -> None:
        self.fusion, self.vocab = fusion, vocab
        self.states = fusion.start(batch, beam, device)
        self.total = torch.zeros(batch, beam, dtype=torch.float64, device=device)
        self.tokens = torch.arange(vocab, device=device).expand(batch, -1)
        self.after = self.total[:, :, None]

    def scores(self) -> Tensor:
        """Scores (B, W, V) of every prefix with every token added; the end gets no bonus."""
        self.after = self.total[:, :, None] + self.fusion.gains(self.states, self.tokens)
        self.after = self.after.expand(-1, -1, self.vocab).clone()
        self.after[:, :, -1] = self.total + self.fusion.ends(self.states)
        return self.after

    def advance(self, source: Tensor, token: Tensor) -> None:
        self.total = self.after.flatten(1).gather(1, source * self.vocab + token)
        self.states = self.fusion.advance(self.states, source, token)
