"""An attention decoder on encoder states: recognition and translation that may reorder and lengthen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.config import construct
from m2asr.data.batch import Batch, target_key
from m2asr.models import DECODERS
from m2asr.models.encoded import Encoded
from m2asr.models.layers import round_length
from m2asr.objectives.objective import Loss, Objective, full_precision
from m2asr.objectives.view import View

IGNORED = -100


class Attention(Objective):
    """Cross-entropy of every token and of the end of the sentence, given the true tokens before it (Chan et al. 2016, equation 12).

    With `smoothing` e the target distribution is (1 - e) onehot + e / V (Szegedy et al. 2016, section 7). `decoder` names one of
    `model.decoders`, which several objectives may share, or holds the options of an own one; `prefix` is the language that a shared
    decoder is to write. Utterances without this target or without an encoder state are left out; the latter are counted in the metric
    `unrepresentable`. The metrics `accuracy` and, on dev sets, `error` are those of teacher forcing: a search errs more.
    """

    def __init__(
        self,
        dim: int,
        vocab: int,
        decoders: Mapping[str, nn.Module],
        tokens: str,
        text: str = "text",
        decoder: str | dict[str, Any] = {"type": "transformer"},  # noqa: B006 - read only
        prefix: str | None = None,
        smoothing: float = 0.1,
        tap: str = "output",
        per: Literal["token", "utterance", "frame"] = "token",
    ) -> None:
        super().__init__()
        self.target = target_key(tokens, text)
        self.tokens, self.text, self.tap, self.per = tokens, text, tap, per
        self.prefix, self.smoothing, self.eos = prefix, smoothing, vocab - 1
        if isinstance(decoder, str):
            self._decoder = (decoders[decoder],)  # in a tuple: its parameters belong to the system, not to this objective
        else:
            prefixes = () if prefix is None else (prefix,)
            self.own = construct(DECODERS, "decoder", decoder, memory_dim=dim, vocab=vocab, prefixes=prefixes)
            self._decoder = (self.own,)

    @property
    def decoder(self) -> nn.Module:
        """The shared or own decoder."""
        return self._decoder[0]

    def weight(self, batch: Batch, lengths: Tensor) -> float:
        return self._weight(batch, lengths, self._usable(batch, lengths))

    def forward(self, encoded: Mapping[View, Encoded], batch: Batch) -> Loss:
        one = encoded[self.views[0]]
        present, usable = batch.target_lengths[self.target] >= 0, self._usable(batch, one.lengths)
        metrics: dict[str, tuple[float | Tensor, float]] = {"unrepresentable": (float((present & ~usable).sum()), float(present.sum()))}
        rows = torch.nonzero(usable).squeeze(1)
        memory = one.states[self.tap][rows]  # (B', T', S)
        if len(rows) == 0:
            return Loss(sum((p.sum() for p in self.decoder.parameters()), memory.sum()) * 0.0, 0.0, metrics)
        targets, sizes = batch.targets[self.target][rows], batch.target_lengths[self.target][rows]
        targets = F.pad(targets, (0, round_length(targets.shape[1] + 1) - targets.shape[1] - 1))
        labels = with_end(targets, sizes, self.eos)  # (B', U + 1)
        logits = full_precision(self.decoder(targets, memory, one.lengths[rows], self.prefix))  # (B', U + 1, V)
        loss = F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=self.smoothing, reduction="sum"
        )
        count, correct = float((sizes + 1).sum()), (logits.detach().argmax(-1) == labels).sum()
        metrics["accuracy"] = (correct, count)
        if not self.training:
            metrics["error"] = (count - correct, count)
        return Loss(loss, self._weight(batch, one.lengths, usable), metrics)

    def _usable(self, batch: Batch, lengths: Tensor) -> Tensor:
        return (batch.target_lengths[self.target] >= 0) & (lengths > 0)

    def _weight(self, batch: Batch, lengths: Tensor, usable: Tensor) -> float:
        if self.per == "utterance":
            return float(usable.sum())
        counts = lengths if self.per == "frame" else batch.target_lengths[self.target] + 1  # the end is a token
        return float(counts[usable].sum())


def with_end(targets: Tensor, sizes: Tensor, eos: int) -> Tensor:
    """Targets (B, U) with the end after their `sizes` (B,) tokens and IGNORED behind it: (B, U + 1)."""
    places = torch.arange(targets.shape[1] + 1, device=targets.device)
    labels = F.pad(targets, (0, 1)).masked_fill(places == sizes[:, None], eos)
    return labels.masked_fill(places > sizes[:, None], IGNORED)
