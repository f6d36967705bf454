"""The scores that a search adds to those of an acoustic model: language models, hot words, a bonus per token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m2asr.decode.prefix_table import PrefixTable

States = list[Tensor]  # the states of all prefixes: a tensor (B, W) of rows for each text model


class Fusion:
    """Shallow fusion (Gulcehre et al. 2015): score = acoustic model + sum of factor * text model + bonus * tokens.

    `models` are pairs of a factor and the table of a text model.
    """

    def __init__(self, models: Sequence[tuple[float, PrefixTable]] = (), bonus: float = 0.0) -> None:
        self.models = [(factor, table) for factor, table in models if factor]
        self.bonus = bonus

    @property
    def most_gain(self) -> float:
        """The most that a token can add to a score."""
        return max(self.bonus, 0.0) + sum(factor * table.model.most_gain for factor, table in self.models)

    def __bool__(self) -> bool:
        """Whether the fusion changes any score."""
        return bool(self.models or self.bonus)

    def start(self, batch: int, beam: int, device: torch.device) -> States:
        """The states of empty prefixes, W for each of B utterances."""
        return [torch.full((batch, beam), table.start(), dtype=torch.long, device=device) for _, table in self.models]

    def gains(self, states: States, tokens: Tensor) -> Tensor:
        """The scores that the tokens (B, K) add to the prefixes: (B, W, K) or, without text models, a tensor of one number."""
        gains = torch.full((), self.bonus, device=tokens.device)
        for (factor, table), state in zip(self.models, states, strict=True):
            gains = torch.add(gains, table.gains(state, tokens), alpha=factor)
        return gains

    def advance(self, states: States, source: Tensor, tokens: Tensor) -> States:
        """The states of prefixes source[b, w] extended by tokens[b, w], or not extended where it is -1; both (B, W)."""
        return [table.advance(state.gather(1, source), tokens) for (_, table), state in zip(self.models, states, strict=True)]

    def ends(self, states: States) -> Tensor | float:
        """The scores (B, W) that the end of the text adds to the prefixes."""
        total: Tensor | float = 0.0
        for (factor, table), state in zip(self.models, states, strict=True):
            total = total + factor * table.scores[state, -1].double()
        return total


class FusedPrefix:
    """Fusion as a scorer of prefixes for `beam_search`: `batch` utterances with `beam` prefixes each."""

    def __init__(self, fusion: Fusion, batch: int, beam: int, vocab: int, device: torch.device) -> None:
        self.fusion, self.vocab = fusion, vocab
        self.states = fusion.start(batch, beam, device)
        self.total = torch.zeros(batch, beam, dtype=torch.float64, device=device)
        self.tokens = torch.arange(vocab, device=device).expand(batch, -1)
        self.extended = self.total[:, :, None]

    def scores(self) -> Tensor:
        """Scores (B, W, V) of every prefix extended by every token; the end gets no bonus."""
        self.extended = self.total[:, :, None] + self.fusion.gains(self.states, self.tokens)
        self.extended = self.extended.expand(-1, -1, self.vocab).clone()
        self.extended[:, :, -1] = self.total + self.fusion.ends(self.states)
        return self.extended

    def advance(self, source: Tensor, token: Tensor) -> None:
        self.total = self.extended.flatten(1).gather(1, source * self.vocab + token)
        self.states = self.fusion.advance(self.states, source, token)

    def keep(self, utts: Tensor) -> None:
        self.states = [state[utts] for state in self.states]
        self.total, self.tokens, self.extended = self.total[utts], self.tokens[utts], self.extended[utts]
