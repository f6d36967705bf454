"""Connectionist temporal classification on encoder states, for recognition and (monotonic) translation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn

from m2asr.data.batch import Batch, target_key
from m2asr.models.encoded import Encoded
from m2asr.objectives.objective import Loss, Objective, full_precision
from m2asr.objectives.view import View

BLANK = 0


class CTC(Objective):
    """A linear layer on encoder states and the CTC loss (Graves et al. 2006) on its log-softmax.

    Utterances without this target are left out. Targets that need more states than the encoder gives have no alignment: they
    are left out as well and counted in the metric `unrepresentable`.
    """

    def __init__(
        self,
        dim: int,
        vocab: int,
        tokens: str,
        text: str = "text",
        tap: str = "output",
        per: Literal["token", "utterance", "frame"] = "token",
    ) -> None:
        super().__init__()
        self.target = target_key(tokens, text)
        self.tokens, self.text, self.tap, self.per = tokens, text, tap, per
        self.output = nn.Linear(dim, vocab)

    def log_probs(self, encoded: Encoded) -> Tensor:
        """Log-probabilities of the tokens (B, T', V), in float32 or better."""
        return F.log_softmax(full_precision(self.output(encoded.states[self.tap])), dim=-1)

    def weight(self, batch: Batch, lengths: Tensor) -> float:
        return self._weight(batch, lengths, representable(batch, self.target, lengths))

    def forward(self, encoded: Mapping[View, Encoded], batch: Batch) -> Loss:
        states = encoded[self.views[0]]
        present = batch.target_lengths[self.target] >= 0
        usable = representable(batch, self.target, states.lengths)
        metrics = {"unrepresentable": (float((present & ~usable).sum()), float(present.sum()))}
        rows = torch.nonzero(usable).squeeze(1)
        chosen = states.states[self.tap]
        if len(rows) == 0:
            return Loss(self.output(chosen).sum() * 0.0, 0.0, metrics)
        chosen = chosen if len(rows) == len(usable) else chosen[rows]  # (B'', T', D)
        # time first before the softmax: the gradient of the loss then comes back in the order it is needed in
        log_probs = F.log_softmax(full_precision(self.output(chosen).transpose(0, 1).contiguous()), dim=-1)  # (T', B'', V)
        targets, target_lengths = batch.targets[self.target][rows], batch.target_lengths[self.target][rows]
        losses = F.ctc_loss(log_probs, targets, states.lengths[rows], target_lengths, blank=BLANK, reduction="none")  # (B'',)
        if not self.training:
            metrics["error"] = _errors(log_probs.argmax(-1).T, states.lengths[rows], targets, target_lengths)
        return Loss(losses.sum(), self._weight(batch, states.lengths, usable), metrics)

    def _weight(self, batch: Batch, lengths: Tensor, usable: Tensor) -> float:
        if self.per == "utterance":
            return float(usable.sum())
        counts = lengths if self.per == "frame" else batch.target_lengths[self.target].clamp(min=1)
        return float(counts[usable].sum())


def representable(batch: Batch, target: str, lengths: Tensor) -> Tensor:
    """Which utterances (B,) have this target and enough states for it: one per token and one between equal neighbours."""
    tokens, token_lengths = batch.targets[target], batch.target_lengths[target]
    inside = torch.arange(1, max(1, tokens.shape[1]), device=tokens.device) < token_lengths[:, None]  # (B, U - 1), or (B, 0)
    repeats = ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)
    return (token_lengths >= 0) & (lengths > 0) & (token_lengths + repeats <= lengths)


def collapse(best: list[int]) -> list[int]:
    """Merge repeated labels and drop blanks."""
    return [token for i, token in enumerate(best) if token != BLANK and (i == 0 or token != best[i - 1])]


def _errors(best: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> tuple[float, float]:
    distance, total = 0, 0
    for row, length, target, size in zip(best.tolist(), lengths.tolist(), targets.tolist(), target_lengths.tolist(), strict=True):
        distance += Levenshtein.distance(collapse(row[:length]), target[:size])
        total += size
    return float(distance), float(total)
