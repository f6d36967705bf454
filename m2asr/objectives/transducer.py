"""An RNN transducer on encoder states, for recognition: every token depends on the states so far and on the tokens before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein
from torch import nn

from m2asr.data.batch import Batch, Share, target_key
from m2asr.errors import UserError
from m2asr.limits import Bounded, Count, Factor, Natural
from m2asr.models.encoded import Encoded
from m2asr.models.layers import full_precision, round_length
from m2asr.models.transducer import greedy
from m2asr.names import TextName
from m2asr.objectives.objective import Loss, Metric, Objective, row_selection, select_rows
from m2asr.objectives.rnnt import rnnt_loss
from m2asr.objectives.rnnt_prune import pruned_cells, sum_loss
from m2asr.objectives.view import View, ViewOptions, view_of


class Transducer(Objective):
    """The RNN transducer loss (Graves 2012): the probability of a text is summed over all its alignments with the states.

    With `prune` it is summed only over alignments within a band: so many neighbouring positions in the text per state (Kuang et al. 2022).
    A joiner that adds logits of the states to logits of the predictor chooses the band. It is trained with the objective: `prune_weight`
    (0.5) times its own loss is added. It is not used otherwise. At first it chooses badly, so over the first `prune_warmup` steps (0) the
    factor of its loss falls from 1 to `prune_weight`, and that of the loss in the band grows from 0.1 to 1, as in the recipes of icefall.

    `predictor` and `joiner` name modules of `model:`, which several objectives may share. A state writes at most `max_symbols` tokens in a
    search. A target with more tokens than its states can write so, or without any state, is left out of the loss and counted in the metric
    `unrepresentable`; utterances without this target are left out. The metric `error`, on dev sets, counts the token errors of a greedy
    search in all utterances with a target.
    """

    metrics = ("unrepresentable",)
    module_options = ("predictor", "joiner")

    def __init__(
        self,
        dim: int,
        vocab: int,
        modules: Mapping[str, nn.Module],
        tokens: str,
        predictor: str,
        joiner: str,
        text: TextName = "text",
        max_symbols: Bounded = 5,
        prune: Count | None = None,
        prune_weight: Factor | None = None,
        prune_warmup: Natural = 0,
        tap: str = "output",
        per: Literal["token", "utterance", "frame"] = "token",
        view: ViewOptions | None = None,
    ) -> None:
        if max_symbols < 1:
            raise UserError(f"max_symbols: {max_symbols} is not above 0; give the most tokens that a state may write")
        if prune is not None and prune < 2:
            raise UserError(f"prune: {prune} is too small; give at least 2 (positions in the text per state), or leave it out")
        if prune_weight is not None and prune is None:
            raise UserError("prune_weight: it needs `prune`; set `prune: 5`, or take it away")
        if prune_weight is not None and not 0 < prune_weight < float("inf"):
            raise UserError(f"prune_weight: {prune_weight} is no positive number, so nothing would train the choice of the band; try 0.5")
        if prune_warmup and prune is None:
            raise UserError("prune_warmup: it needs `prune`; set `prune: 5`, or take it away")
        super().__init__([(view_of(view), tap)], target_key(tokens, text))
        self.prune, self.prune_weight, self.prune_warmup = prune, 0.5 if prune_weight is None else prune_weight, prune_warmup
        if prune_warmup:
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        if prune:
            self.of_states, self.of_predicted = nn.Linear(dim, vocab), nn.Linear(modules[predictor].dim, vocab, bias=False)
        self.tokens, self.text, self.tap, self.per, self.max_symbols = tokens, text, tap, per, max_symbols
        self._pair = (modules[predictor], modules[joiner])  # a tuple hides their parameters: they belong to the system
        self.runs = (predictor, joiner)

    @property
    def predictor(self) -> nn.Module:
        """The predictor, shared or not."""
        return self._pair[0]

    @property
    def joiner(self) -> nn.Module:
        """The joiner, shared or not."""
        return self._pair[1]

    def representable(self, batch: Batch, states: np.ndarray) -> np.ndarray:
        """Which utterances (B,) have the target and, with `states` (B,), can write it: at most `max_symbols` tokens per state."""
        sizes = batch.target_lengths[self.target].numpy()
        return (sizes >= 0) & (states > 0) & (sizes <= self.max_symbols * states)

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        states, sizes = batch.drawn[self.views[0]].states, batch.target_lengths[self.target].numpy()
        present, usable = sizes >= 0, self.representable(batch, states)
        counts = {"utterance": np.ones(len(sizes)), "frame": states, "token": sizes.clip(min=1)}[self.per]
        targets = batch.targets[self.target][torch.from_numpy(usable)]
        targets = F.pad(targets, (0, round_length(targets.shape[1] + 1) - targets.shape[1] - 1))  # (R, U)
        tensors = {**row_selection(usable), "targets": targets}
        metrics = {"unrepresentable": (float((present & ~usable).sum()), float(present.sum()))}
        return Share(float(counts[usable].sum()), metrics, tensors, {"states": states[usable], "targets": sizes[usable]})

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        states = select_rows(encoded[self.views[0]].states[self.tap], share.tensors)  # (R, T', D)
        targets = share.tensors["targets"]  # (R, U)
        lengths, predicted = (share.sizes["states"], share.sizes["targets"]), self.predictor(targets)  # (R, U + 1, P)
        joint = self.joiner(states, predicted)  # (R, T', J), (R, U + 1, J), (V, J), (V,)
        if not self.prune:
            return Loss(rnnt_loss(*joint, targets, *lengths).sum())
        logits = full_precision(self.of_states(states)), full_precision(self.of_predicted(predicted))  # (R, T', V), (R, U + 1, V)
        choosing, passed = sum_loss(*logits, targets, *lengths)
        losses = rnnt_loss(*joint, targets, *lengths, cells=pruned_cells(passed, *lengths, self.prune))
        done = (self.steps.double() / self.prune_warmup).clamp(max=1) if self.prune_warmup and self.training else 1.0
        return Loss(((0.1 + 0.9 * done) * losses + (1 - (1 - self.prune_weight) * done) * choosing).sum())

    def after_step(self) -> None:
        if self.prune_warmup:
            self.steps += 1

    def dev_metrics(self, encoded: Mapping[View, Encoded], batch: Batch, loss: Loss | None) -> dict[str, Metric]:
        """The token error rate of a greedy search: edits to the reference, and tokens of the reference."""
        view, targets, sizes = encoded[self.views[0]], batch.targets[self.target], batch.target_lengths[self.target]
        texts, _ = greedy(view.states[self.tap], view.lengths, self.predictor, self.joiner, self.max_symbols)
        rows = zip(texts, targets.tolist(), sizes.tolist(), strict=True)
        pairs = [(text, target[:size]) for text, target, size in rows if size >= 0]
        return {"error": (float(sum(Levenshtein.distance(*pair) for pair in pairs)), float(sum(len(target) for _, target in pairs)))}
