"""Which language is spoken: a classifier of whole utterances."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.data.batch import Batch
from m2asr.errors import UserError
from m2asr.models.encoded import Encoded
from m2asr.objectives.objective import Loss, Objective, full_precision
from m2asr.objectives.view import View


class LanguageId(Objective):
    """Cross-entropy of a linear layer on the mean of an utterance's encoder states over the `languages` of its stream.

    Training fills `languages` in from the stream's sets. Utterances without a state or in another language are left out. Metrics:
    `accuracy`, and `error` on dev sets.
    """

    def __init__(self, dim: int, languages: list[str] | None = None, tap: str = "output") -> None:
        super().__init__()
        if not languages or len(languages) < 2:
            raise UserError(f"languages: a langid objective tells two or more apart, its stream has {', '.join(languages or ['none'])}")
        self.languages, self.tap = list(languages), tap
        self.output = nn.Linear(dim, len(languages))

    def weight(self, batch: Batch, lengths: Tensor) -> float:
        return float(self._usable(batch, lengths).sum())

    def forward(self, encoded: Mapping[View, Encoded], batch: Batch) -> Loss:
        one = encoded[self.views[0]]
        rows = torch.nonzero(self._usable(batch, one.lengths)).squeeze(1)
        if len(rows) == 0:
            return Loss(self.logits(one).sum() * 0.0, 0.0)
        logits = self.logits(one)[rows]  # (B', L)
        labels = torch.tensor([self.languages.index(batch.lang[row]) for row in rows.tolist()], device=logits.device)
        count, correct = float(len(rows)), (logits.detach().argmax(-1) == labels).sum()
        metrics: dict[str, tuple[float | Tensor, float]] = {"accuracy": (correct, count)}
        if not self.training:
            metrics["error"] = (count - correct, count)
        return Loss(F.cross_entropy(logits, labels, reduction="sum"), count, metrics)

    def logits(self, encoded: Encoded) -> Tensor:
        """Scores of the languages (B, L), in float32 or better."""
        states = full_precision(encoded.states[self.tap])  # (B, T', D)
        valid = (torch.arange(states.shape[1], device=states.device) < encoded.lengths[:, None]).unsqueeze(-1)
        mean = states.masked_fill(~valid, 0.0).sum(1) / encoded.lengths.clamp(min=1)[:, None]
        return full_precision(self.output(mean))

    def predict(self, encoded: Encoded) -> list[str]:
        """The most probable language of every utterance."""
        return [self.languages[number] for number in self.logits(encoded).argmax(-1).tolist()]

    def _usable(self, batch: Batch, lengths: Tensor) -> Tensor:
        known = torch.tensor([lang in self.languages for lang in batch.lang], device=lengths.device)
        return known & (lengths > 0)
