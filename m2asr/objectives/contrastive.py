"""Contrastive learning at masked states: tell the quantized true state from those of other masked steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share
from m2asr.errors import UserError
from m2asr.limits import Bounded, Factor, Positive
from m2asr.models.encoded import Encoded
from m2asr.models.layers import full_precision
from m2asr.models.quantizers import perplexity
from m2asr.objectives.masked import MaskedObjective
from m2asr.objectives.objective import Loss
from m2asr.objectives.view import View, ViewOptions


class Contrastive(MaskedObjective):
    """The loss of wav2vec 2.0 (Baevski et al. 2020, section 3.2, equations 2 to 4) on states of any tap.

    At a masked step the cosine similarities of a linear map of the state to the quantized front-end states of this step and of other masked
    steps, the distractors, are divided by the temperature; the loss is the cross-entropy with the true one. Distractors are different
    steps, drawn with equal probability from the same utterance (`negatives: utterance`) or from the whole batch (`batch`). Where there are
    not enough, all are taken; the share of such steps is the metric `few`. Distractors whose codes are those of the true step are left
    out. Steps without any other masked step are left out, and utterances without a step are counted in the metric `skipped`.

    The quantizer learns through this loss alone: its own loss is added, and `diversity` times (G V - sum_g exp(H_g)) / (G V), where H_g
    is the entropy of the mean probabilities of codebook g (as the paper's implementation does). The mean is over a micro-batch, which
    processes therefore do not divide; a projection has no such term.

    Metrics: `accuracy`, and `chance`, that of a guess; `perplexity` of the codes in a batch, and in each language; `skipped`, `few`.

    Args:
        quantizer: the name of a quantizer of the model.
        view: needs a mask.
        distractors: maximum number of distractors per step.
        diversity: by default 0.1 with a gumbel_quantizer, as in the paper, and 5 with a nearest_quantizer.
    """

    metrics = ("skipped", "few", "accuracy", "chance", "perplexity")

    def __init__(
        self,
        dim: int,
        modules: Mapping[str, nn.Module],
        quantizer: str,
        view: ViewOptions | None = None,
        tap: str = "output",
        temperature: Positive = 0.1,
        distractors: Bounded = 100,
        negatives: Literal["utterance", "batch"] = "utterance",
        diversity: Factor | None = None,
        languages: list[str] | None = None,
    ) -> None:
        for name, value in {"temperature": temperature, "distractors": distractors}.items():
            if not 0 < value < float("inf"):
                raise UserError(f"{name}: {value} is not above 0; give a positive number")
        super().__init__(modules, quantizer, view, tap, languages)
        self.runs = (quantizer,)
        if diversity is not None and not 0 <= diversity < float("inf"):
            raise UserError(f"diversity: {diversity:g} is not possible; give a number from 0 up")
        if diversity and not self.quantizer.diversity:
            raise UserError(f"diversity: model.{quantizer} is frozen, so its codes cannot be made equal; take `diversity` away")
        self.diversity = self.quantizer.diversity if diversity is None else diversity
        self.temperature, self.distractors, self.negatives = temperature, distractors, negatives
        self.compares = negatives == "batch" or self.diversity > 0
        self.projection = nn.Linear(dim, self.quantizer.width)

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        share, counts = self.masked_share(batch)
        sizes = np.array([counts.sum()]) if self.negatives == "batch" else counts  # (S,) masked steps of every set to choose from
        columns = draw_distractors(sizes, self.distractors, rng)  # (N, K)
        inside = np.arange(sizes.max(initial=0)) < sizes[:, None]  # (S, M) the masked steps in sets, padded
        index, padded = np.zeros(inside.shape, dtype=np.int64), np.full((*inside.shape, columns.shape[1]), -1)
        index[inside], padded[inside] = np.arange(len(columns)), columns
        taught = np.repeat(sizes > 1, sizes)  # (N,)
        share.weight = float(taught.sum())
        taught_utterances = (counts > 0) & ((counts if self.negatives == "utterance" else counts.sum()) > 1)
        share.metrics["skipped"] = (float((~taught_utterances).sum()), float(len(counts)))
        share.metrics["few"] = (float((taught & (np.repeat(sizes, sizes) <= self.distractors)).sum()), share.weight)
        share.tensors |= {"index": torch.from_numpy(index), "distractors": torch.from_numpy(padded)}
        share.tensors["slots"] = torch.from_numpy(np.flatnonzero(inside)[taught])  # (V,) of the flat (S, M)
        share.tensors["taught"] = torch.from_numpy(np.flatnonzero(taught))  # (V,) of the N
        return share

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        vectors, codes, probabilities, losses = self.quantized(encoded, share)
        queries = self.projection(self.masked(encoded, share, self.tap))  # (N, W)
        with torch.autocast(queries.device.type, enabled=False):
            logits = self.logits(queries, vectors, codes, share.tensors)  # (V, 1 + K)
            loss = -F.log_softmax(logits, dim=-1)[:, 0].sum() + losses[share.tensors["taught"]].sum()
            if self.diversity > 0:
                unused = 1 - perplexity(probabilities) / self.quantizer.entries
                loss = loss + self.diversity * share.weight * unused
        beaten, tied = (logits > logits[:, :1]).any(-1), (logits == logits[:, :1]).sum(-1)  # (V,)
        hits = (~beaten / tied).sum().detach()  # a tie counts as a guess
        chance = (1 / (logits > float("-inf")).sum(-1)).sum()
        return Loss(loss, {"accuracy": (hits, share.weight), "chance": (chance, share.weight), **self.perplexities(codes, share)})

    def logits(self, queries: Tensor, vectors: Tensor, codes: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """Cosine similarities over the temperature (V, 1 + K), the true one first; -inf for missing distractors and those of its codes."""
        index, distractors = tensors["index"], tensors["distractors"]  # (S, M), (S, M, K)
        predicted, true = (F.normalize(full_precision(x), dim=-1)[index] for x in (queries, vectors))  # (S, M, W)
        every = predicted @ true.transpose(1, 2)  # (S, M, M)
        codes = codes[index]  # (S, M, G)
        equal = (codes[:, :, None] == codes[:, None]).all(-1)  # (S, M, M)
        others = every.masked_fill(equal, float("-inf")).gather(2, distractors.clamp(min=0))  # (S, M, K)
        others = others.masked_fill(distractors < 0, float("-inf"))
        logits = torch.cat([every.diagonal(dim1=1, dim2=2).unsqueeze(-1), others], dim=-1)  # (S, M, 1 + K)
        return logits.flatten(0, 1)[tensors["slots"]] / self.temperature


def draw_distractors(sizes: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """The distractors of every step of sets with these sizes (S,): up to `most` different other steps of its set, -1 where there are fewer.

    From sizes whose sum is N to positions (N, K) within the sets. Each choice of `most` others has the same probability (Floyd's algorithm:
    Bentley and Floyd 1987, "A sample of brilliance").
    """
    others = np.repeat(sizes, sizes) - 1  # (N,) steps to choose from
    position = np.arange(len(others)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # (N,) of the step in its set
    count = min(most, int(others.max(initial=0)))
    chosen = np.tile(np.arange(count), (len(others), 1))  # (N, K), all of them where there are no more
    many = np.flatnonzero(others > count)
    for column in range(count):
        last = others[many] - count + column
        drawn = rng.integers(0, last + 1)
        taken = (chosen[many, :column] == drawn[:, None]).any(1)
        chosen[many, column] = np.where(taken, last, drawn)
    missing = chosen >= others[:, None]
    chosen += chosen >= position[:, None]  # steps behind the step itself
    return np.where(missing, -1, chosen)
