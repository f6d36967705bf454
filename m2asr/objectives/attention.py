"""An attention decoder on encoder states, for recognition and for translation; it may reorder words and write longer texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.config import construct
from m2asr.data.batch import Batch, Share, target_key
from m2asr.errors import UserError
from m2asr.limits import Factor, ShareBelowOne
from m2asr.models import DECODERS
from m2asr.models.decoder import DecoderPart, TransformerDecoder
from m2asr.models.encoded import Encoded
from m2asr.models.experts import choices, expert_counts
from m2asr.models.layers import full_precision, round_length
from m2asr.names import TextName
from m2asr.objectives.balance import router_loss
from m2asr.objectives.objective import Loss, Metric, Objective, row_selection, select_rows
from m2asr.objectives.view import View, ViewOptions, view_of

IGNORED = -100


class Attention(Objective):
    """Cross-entropy of every token and of the end of the sentence, given the true tokens before it (Chan et al. 2016, equation 12).

    With `smoothing` e the target distribution is (1 - e) onehot + e / V (Szegedy et al. 2016, section 7). `decoder` names a decoder of
    `model:`, which several objectives may share, or holds the options of a decoder for this objective alone. `prefix` is the language that
    a shared decoder writes. Utterances without this target or without an encoder state are left out; the latter are counted in the metric
    `unrepresentable`. The metrics `accuracy` and, on dev sets, `error` are measured with teacher forcing; a search makes more errors. All
    tokens of an utterance without an encoder state are errors. With experts in the decoder, `balance` times the losses sparsity and
    importance of its routers is added (see Balance), means over the tokens of a micro-batch.
    """

    metrics = ("unrepresentable", "accuracy")
    module_options = ("decoder",)

    def __init__(
        self,
        dim: int,
        vocab: int,
        modules: Mapping[str, nn.Module],
        tokens: str,
        text: TextName = "text",
        decoder: str | dict[str, Any] = {"type": "transformer"},  # noqa: B006 - read only
        prefix: str | None = None,
        smoothing: ShareBelowOne = 0.1,
        tap: str = "output",
        per: Literal["token", "utterance", "frame"] = "token",
        balance: Factor = 0.0,
        view: ViewOptions | None = None,
    ) -> None:
        super().__init__([(view_of(view), tap)], target_key(tokens, text))
        self.tokens, self.text, self.tap, self.per = tokens, text, tap, per
        self.prefix, self.smoothing, self.eos = prefix, smoothing, vocab - 1
        if isinstance(decoder, str):
            self._decoder = (modules[decoder].for_tokens(tokens),)  # a tuple hides its parameters from nn.Module: they belong to the system
            self.runs = (decoder,)
        else:
            if decoder.get("joined"):
                raise UserError("decoder.joined: only for a decoder of `model:`, which several objectives share; name one here")
            prefixes = () if prefix is None else (prefix,)
            self.own = construct(DECODERS, "decoder", decoder, memory_dim=dim, vocab=vocab, prefixes=prefixes)
            self._decoder = (self.own,)

        if not 0 <= balance < float("inf"):
            raise UserError(f"balance: {balance:g} is not possible; give a number from 0 up")
        if balance and self.decoder.experts is None:
            raise UserError("balance: the decoder has no experts; give it `experts`, or take `balance` away")
        limited = self.decoder.experts is not None and self.decoder.experts.capacity is not None
        self.balance, self.compares = balance, balance > 0 or limited

    @property
    def decoder(self) -> TransformerDecoder | DecoderPart:
        """The decoder, shared or not."""
        return self._decoder[0]

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        states, sizes = batch.drawn[self.views[0]].states, batch.target_lengths[self.target].numpy()
        present, usable = sizes >= 0, (sizes >= 0) & (states > 0)
        metrics = {"unrepresentable": (float((present & ~usable).sum()), float(present.sum()))}
        counts = {"utterance": np.ones(len(sizes)), "frame": states, "token": sizes + 1}[self.per]  # the end of the text is a token too
        targets = batch.targets[self.target][torch.from_numpy(usable)]
        targets = F.pad(targets, (0, round_length(targets.shape[1] + 1) - targets.shape[1] - 1))  # (R, U)
        tensors = {**row_selection(usable), "targets": targets, "labels": with_end(targets, sizes[usable], self.eos)}
        return Share(float(counts[usable].sum()), metrics, tensors, {"tokens": sizes[usable] + 1})

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        view = encoded[self.views[0]]
        memory, lengths = select_rows(view.states[self.tap], share.tensors), select_rows(view.lengths, share.tensors)  # (R, T', S), (R,)
        labels = share.tensors["labels"]  # (R, U + 1)
        valid = labels != IGNORED if self.decoder.experts else None
        logits, routers = self.decoder(share.tensors["targets"], memory, lengths, self.prefix, valid, with_routers=True)
        logits = full_precision(logits)  # (R, U + 1, V)
        loss = F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=self.smoothing, reduction="sum"
        )
        if self.balance:
            loss = loss + share.weight * sum(self._router_loss(chosen, valid) for chosen in routers)
        count, correct = float(share.sizes["tokens"].sum()), (logits.detach().argmax(-1) == labels).sum()
        return Loss(loss, {"accuracy": (correct, count)})

    def _router_loss(self, logits: Tensor, valid: Tensor) -> Tensor:
        """The losses of a router with logits (R, U + 1, E)."""
        top = self.decoder.experts.top
        counts = expert_counts(choices(logits, valid, top), logits.shape[-1])
        return router_loss(logits, valid, counts, top, {"sparsity": self.balance, "importance": self.balance})

    def dev_metrics(self, encoded: Mapping[View, Encoded], batch: Batch, loss: Loss | None) -> dict[str, Metric]:
        sizes = batch.target_lengths[self.target].numpy()
        missed = float((sizes + 1)[(sizes >= 0) & (batch.drawn[self.views[0]].states == 0)].sum())
        correct, count = loss.metrics["accuracy"] if loss else (0.0, 0.0)
        return {"error": (missed + count - correct, missed + count)}


def with_end(targets: Tensor, sizes: np.ndarray, eos: int) -> Tensor:
    """Labels (B, U + 1): targets (B, U), with `eos` after their `sizes` (B,) tokens and IGNORED at all later positions."""
    labels = F.pad(targets, (0, 1)).numpy()
    positions = np.arange(labels.shape[1])
    return torch.from_numpy(np.where(positions < sizes[:, None], labels, np.where(positions == sizes[:, None], eos, IGNORED)))
