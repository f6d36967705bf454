"""Language identification: a classifier of utterances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share
from m2asr.errors import UserError
from m2asr.models.encoded import Encoded
from m2asr.models.layers import full_precision
from m2asr.objectives.objective import Loss, Metric, Objective, row_selection, select_rows
from m2asr.objectives.view import View


class LanguageId(Objective):
    """Cross-entropy of a linear layer that predicts the language from the mean of an utterance's encoder states.

    `languages` are the classes; training takes them from the sets of the stream. Utterances without a state or in another language are left
    out. Metrics: `accuracy`, and `error` on dev sets, where an utterance without a state is an error.
    """

    metrics = ("accuracy",)

    def __init__(self, dim: int, languages: list[str] | None = None, tap: str = "output") -> None:
        super().__init__([(View(), tap)])
        if not languages or len(languages) < 2:
            raise UserError(f"languages: a langid objective needs two languages or more, its stream has {', '.join(languages or ['none'])}")
        self.languages, self.tap = list(languages), tap
        self.output = nn.Linear(dim, len(languages))

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        in_languages = np.array([lang in self.languages for lang in batch.lang])
        usable = in_languages & (batch.drawn[self.views[0]].states > 0)
        labels = [self.languages.index(batch.lang[row]) for row in np.flatnonzero(usable)]
        return Share(float(usable.sum()), {}, {**row_selection(usable), "labels": torch.tensor(labels, dtype=torch.long)})

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        logits, labels = select_rows(self.logits(encoded[self.views[0]]), share.tensors), share.tensors["labels"]  # (R, L), (R,)
        count, correct = float(len(labels)), (logits.detach().argmax(-1) == labels).sum()
        return Loss(F.cross_entropy(logits, labels, reduction="sum"), {"accuracy": (correct, count)})

    def dev_metrics(self, encoded: Mapping[View, Encoded], batch: Batch, loss: Loss | None) -> dict[str, Metric]:
        empty = batch.drawn[self.views[0]].states == 0
        missed = float(sum(lang in self.languages for lang, is_empty in zip(batch.lang, empty, strict=True) if is_empty))
        correct, count = loss.metrics["accuracy"] if loss else (0.0, 0.0)
        return {"error": (missed + count - correct, missed + count)}

    def logits(self, encoded: Encoded) -> Tensor:
        """Scores of the languages (B, L), in float32 or better."""
        states = full_precision(encoded.states[self.tap])  # (B, T', D)
        valid = (torch.arange(states.shape[1], device=states.device) < encoded.lengths[:, None]).unsqueeze(-1)
        mean = states.masked_fill(~valid, 0.0).sum(1) / encoded.lengths.clamp(min=1)[:, None]
        return full_precision(self.output(mean))

    def predict(self, encoded: Encoded) -> list[str]:
        """The most probable language of every utterance."""
        return [self.languages[index] for index in self.logits(encoded).argmax(-1).tolist()]
