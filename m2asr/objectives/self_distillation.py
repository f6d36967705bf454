"""Self-distillation on speech: predict, at masked states, what the same network finds without the mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share
from m2asr.errors import UserError
from m2asr.limits import Positive, ShareBelowOne
from m2asr.models.average import Average
from m2asr.models.encoded import Encoded
from m2asr.models.layers import full_precision
from m2asr.objectives.masked import masked_view
from m2asr.objectives.objective import Loss, Objective
from m2asr.objectives.view import View, ViewOptions

COLLAPSED = 1.5  # tokens; the mean distribution of the teacher is then almost a single token


class SelfDistillation(Objective):
    """The sum over masked states of KL(teacher || student), distributions over the tokens of a head (Zhou et al. 2022, MMSpeech, MSP).

    The student reads the masked states. The teacher is the same network on the same audio without mask, dropout and augmentation, and has
    no gradient. With `teacher: ema` it is the exponential mean of the network and of the head since the beginning of the phase: it takes
    their memory once more, and no other pass. The head is called without a gradient for its weights, so another objective has to train
    it, such as CTC over phones.

    Metrics: `agreement`, the share of masked states at which both prefer the same token; `perplexity` of the teacher's mean distribution,
    which falls to 1 if it always says the same; `skipped`, the share of utterances without a masked state.

    Args:
        head: a tied_head of the model.
        view: needs a mask.
        teacher: `same`, or `ema`, with `decay` from 0 (the same) to below 1 (0.999).
        per: the loss is a mean over masked states (frame) or a sum per utterance with a masked state (utterance).
    """

    self_supervised = True
    metrics = ("agreement", "perplexity", "skipped")
    module_options = ("head",)

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        head: str,
        view: ViewOptions | None = None,
        tap: str = "output",
        temperature: Positive = 1.0,
        teacher: Literal["same", "ema"] = "same",
        decay: ShareBelowOne | None = None,
        per: Literal["utterance", "frame"] = "frame",
    ) -> None:
        if not 0 < temperature < float("inf"):
            raise UserError(f"temperature: {temperature:g} is not above 0; give a positive number")
        if teacher == "same" and decay is not None:
            raise UserError("decay: only for `teacher: ema`; give that too, or take `decay` away")
        decay = 0.999 if decay is None else decay
        student = masked_view(view, tap)
        unmasked = replace(student, mask=None, train=False, grad=False, average=decay if teacher == "ema" else None)
        super().__init__([(student, tap), (unmasked, tap)])
        self.student, self.teacher = student, unmasked
        self.tap, self.temperature, self.per = tap, temperature, per
        self._head = (modules[head],)  # a tuple hides its parameters from nn.Module: they belong to the system
        self.labelled_by = (head, *modules[head].calls)
        self._teacher_head = self._head
        if teacher == "ema":
            condition = modules["encoder"].condition
            names = ["encoder", *self.labelled_by, student.embed, condition and condition.head]
            self.average = Average({name: modules[name] for name in names if name}, decay)
            self._teacher_head = (getattr(self.average, head),)

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        mask = batch.drawn[self.student].tensors["mask"].numpy()  # (B, T')
        rows, steps = mask.nonzero()  # (N,), (N,)
        taught = mask.any(1)
        weight = float(len(rows) if self.per == "frame" else taught.sum())
        metrics = {"skipped": (float((~taught).sum()), float(len(taught)))}
        return Share(weight, metrics, {"rows": torch.from_numpy(rows), "steps": torch.from_numpy(steps)})

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        student = self._logits(self._head[0], encoded[self.student], share)
        with torch.no_grad():
            teacher = self._logits(self._teacher_head[0], encoded[self.teacher], share).softmax(-1)  # (N, V)
        loss = F.kl_div(student.log_softmax(-1), teacher, reduction="sum") * self.temperature**2
        count, mean = float(len(teacher)), teacher.mean(0)
        agreement = (student.detach().argmax(-1) == teacher.argmax(-1)).sum()
        perplexity = torch.special.entr(mean).sum().exp()
        return Loss(loss, {"agreement": (agreement, count), "perplexity": (perplexity, 1.0)})

    def restart(self) -> None:
        if self.teacher.average is not None:
            self.average.restart()

    def after_step(self) -> None:
        if self.teacher.average is not None:
            self.average.after_step()

    def warning(self, metrics: Mapping[str, float]) -> str | None:
        perplexity = metrics.get("perplexity", float("nan"))
        if not perplexity < COLLAPSED:
            return None
        return f"the teacher has collapsed: nearly all its probability lies on one token (perplexity {perplexity:.2f}); train its head more"

    def _logits(self, head: nn.Module, encoded: Encoded, share: Share) -> Tensor:
        """Logits (N, V) over the temperature at the masked states."""
        states = encoded.states[self.tap][share.tensors["rows"], share.tensors["steps"]]  # (N, D)
        return full_precision(head(states, learn=False)) / self.temperature
