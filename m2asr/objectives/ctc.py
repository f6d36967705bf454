"""Connectionist temporal classification on encoder states, for recognition and (monotonic) translation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share, target_key
from m2asr.errors import UserError
from m2asr.limits import Upsampling
from m2asr.models.encoded import Encoded
from m2asr.models.layers import full_precision
from m2asr.names import TextName
from m2asr.objectives.objective import Loss, Metric, Objective, row_selection, select_rows
from m2asr.objectives.view import View, ViewOptions, view_of

BLANK = 0


class CTC(Objective):
    """A linear layer on encoder states and the CTC loss (Graves et al. 2006) on its log-softmax.

    Utterances without this target are left out. A target that needs more labels than the encoder's states give has no alignment: it is
    left out of the loss and counted in the metric `unrepresentable`. The metric `error`, on dev sets, counts its tokens too.

    Args:
        upsampling: labels per encoder state (R). The linear layer writes them side by side, so that R T' labels, blanks included, are left
            for the tokens where speech is fast and an encoder state is long, and the encoder's work stays the same.
        head: a token_head or tied_head of `model:` instead of a linear layer for this objective alone; it writes one label per state.

    Raises UserError for upsampling with `head`.
    """

    metrics = ("unrepresentable",)
    module_options = ("head",)

    def __init__(
        self,
        dim: int,
        vocab: int,
        modules: Mapping[str, nn.Module],
        tokens: str,
        text: TextName = "text",
        tap: str = "output",
        per: Literal["token", "utterance", "frame"] = "token",
        head: str | None = None,
        upsampling: Upsampling = 1,
        view: ViewOptions | None = None,
    ) -> None:
        super().__init__([(view_of(view), tap)], target_key(tokens, text))
        self.tokens, self.text, self.tap, self.per, self.upsampling = tokens, text, tap, per, upsampling
        if head is None:
            self.output = nn.Linear(dim, upsampling * vocab)
        elif upsampling > 1:
            raise UserError(f"upsampling: {upsampling}: head {head} writes one label per state; leave out head, or upsampling")
        else:
            self._shared = (modules[head],)  # a tuple hides its parameters from nn.Module: they belong to the system
            self.runs = (head, *getattr(modules[head], "calls", ()))

    def logits(self, states: Tensor) -> Tensor:
        """Logits of the labels (B, R T', V) from states (B, T', D)."""
        logits = self._shared[0](states) if self.runs else self.output(states)  # (B, T', R V)
        return logits.unflatten(2, (self.upsampling, -1)).flatten(1, 2)

    def log_probs(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the labels (B, R T', V), in float32 or better, and the numbers of labels (B,)."""
        log_probs = F.log_softmax(full_precision(self.logits(encoded.states[self.tap])), dim=-1)
        return log_probs, encoded.lengths * self.upsampling

    def representable(self, batch: Batch, states: np.ndarray) -> np.ndarray:
        """Which utterances (B,) have this target and enough labels for it: one per token and one more between equal neighbours."""
        return representable(batch, self.target, states * self.upsampling)

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        states, sizes = batch.drawn[self.views[0]].states, batch.target_lengths[self.target].numpy()
        present, usable = sizes >= 0, self.representable(batch, states)
        counts = {"utterance": np.ones(len(sizes)), "frame": states, "token": sizes.clip(min=1)}[self.per]
        tensors = {**row_selection(usable), "targets": batch.targets[self.target][torch.from_numpy(usable)]}  # (R, U)
        metrics = {"unrepresentable": (float((present & ~usable).sum()), float(present.sum()))}
        return Share(float(counts[usable].sum()), metrics, tensors, {"labels": states[usable] * self.upsampling, "targets": sizes[usable]})

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        states = select_rows(encoded[self.views[0]].states[self.tap], share.tensors)  # (B', T', D)
        # time is made the first axis before the softmax, so that the gradient of the loss has the memory layout that backward needs
        log_probs = F.log_softmax(full_precision(self.logits(states).transpose(0, 1).contiguous()), dim=-1)  # (R T', B', V)
        lengths = (torch.from_numpy(share.sizes[name]) for name in ("labels", "targets"))  # on the host, as torch requires
        losses = F.ctc_loss(log_probs, share.tensors["targets"], *lengths, blank=BLANK, reduction="none")  # (B',)
        return Loss(losses.sum())

    def dev_metrics(self, encoded: Mapping[View, Encoded], batch: Batch, loss: Loss | None) -> dict[str, Metric]:
        """The token error rate of the best path: edits to the reference, and tokens of the reference."""
        best = self.logits(encoded[self.views[0]].states[self.tap]).argmax(-1)  # (B, R T')
        lengths = batch.drawn[self.views[0]].states * self.upsampling
        targets, sizes = batch.targets[self.target], batch.target_lengths[self.target]
        rows = zip(*(value.tolist() for value in (best, lengths, targets, sizes)), strict=True)
        pairs = [(collapse(path[:length]), target[:size]) for path, length, target, size in rows if size >= 0]
        return {"error": (float(sum(Levenshtein.distance(*pair) for pair in pairs)), float(sum(len(target) for _, target in pairs)))}


def representable(batch: Batch, target: str, labels: np.ndarray) -> np.ndarray:
    """Which utterances (B,) have this target and at least as many labels as it needs in `labels` (B,)."""
    tokens, sizes = batch.targets[target].numpy(), batch.target_lengths[target].numpy()
    inside = np.arange(1, max(1, tokens.shape[1])) < sizes[:, None]  # (B, U - 1), or (B, 0)
    repeats = ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)
    return (sizes >= 0) & (labels > 0) & (sizes + repeats <= labels)


def collapse(best: list[int]) -> list[int]:
    """Merge repeated labels and drop blanks."""
    return [token for i, token in enumerate(best) if token != BLANK and (i == 0 or token != best[i - 1])]
