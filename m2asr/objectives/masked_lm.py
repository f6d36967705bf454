"""Masked language modelling on speech: predict the codes of masked states."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from m2asr.data.batch import Batch, Share
from m2asr.models.encoded import Encoded
from m2asr.models.layers import full_precision
from m2asr.models.quantizers import code_counts
from m2asr.objectives.masked import MaskedObjective
from m2asr.objectives.objective import Loss
from m2asr.objectives.view import View, ViewOptions


class MaskedLM(MaskedObjective):
    """Cross-entropy of a linear layer at masked states with the quantizer's codes (Chung et al. 2021, w2v-BERT, section 3.2).

    There is one softmax per codebook, and the loss of a step is the mean over codebooks. Codes are labels: no gradient goes through them.
    So the quantizer learns nothing here; it needs a contrastive objective, or is a frozen projection (Chiu et al. 2022, BEST-RQ).

    Metrics: `accuracy`, and `majority`, that of always guessing the batch's most frequent code; `perplexity` of the codes in a batch, and
    in each language; `skipped`, the share of utterances without a masked step.

    Args:
        quantizer: the name of a quantizer of the model.
        view: needs a mask.
    """

    metrics = ("skipped", "accuracy", "majority", "perplexity")

    def __init__(
        self,
        dim: int,
        modules: Mapping[str, nn.Module],
        quantizer: str,
        view: ViewOptions | None = None,
        tap: str = "output",
        languages: list[str] | None = None,
    ) -> None:
        super().__init__(modules, quantizer, view, tap, languages)
        self.labelled_by = (quantizer,)
        self.output = nn.Linear(dim, self.quantizer.groups * self.quantizer.entries)

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        share, counts = self.masked_share(batch)
        share.metrics["skipped"] = (float((counts == 0).sum()), float(len(counts)))
        return share

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        with torch.no_grad():
            codes = self.quantized(encoded, share)[1]  # (N, G)
        logits = full_precision(self.output(self.masked(encoded, share, self.tap)))  # (N, G V)
        logits = logits.unflatten(-1, (codes.shape[1], -1))  # (N, G, V)
        loss = F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="sum") / codes.shape[1]
        hits, most = (logits.detach().argmax(-1) == codes).sum(), code_counts(codes, self.quantizer.entries).amax(1).sum()
        count = float(codes.numel())
        return Loss(loss, {"accuracy": (hits, count), "majority": (most, count), **self.perplexities(codes, share)})
