"""Contrastive predictive coding on encoder states: predict the future of an utterance from its past."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share
from m2asr.errors import UserError
from m2asr.limits import Bounded, Positive
from m2asr.models.encoded import Encoded
from m2asr.models.layers import full_precision
from m2asr.objectives.objective import Loss, Objective
from m2asr.objectives.view import View
from m2asr.objectives.windows import CausalWindows, CutWindows


class CPC(Objective):
    """InfoNCE (van den Oord et al. 2018) between predictions from a context state and the states that follow it.

    A context state predicts the next K targets, by one linear map applied repeatedly or by one map per step. No sample of a target
    reaches its context. There are two encodings:

    * `encoding: cut`: windows of a context piece and a future piece are cut out of an utterance and encoded separately, with a gap of
      one analysis window between them. Context and targets are states at `tap`.
    * `encoding: causal`: the utterance is encoded once, and no state sees a later one. Contexts are states at `tap` at random positions.
      Targets are front-end states, which see 70 ms each, from the first that shares no sample with the context.

    Negatives of step k are the targets of step k in other windows, so the position in a window does not help to find the positive. They
    come from the same utterance (`negatives: utterance`), from other utterances in the same language (`batch`, as many), or from both
    (`mixed`: neither speaker nor language helps). Utterances that are too short for a window are skipped and counted in the metric
    `skipped`; a window without negatives is left out.

    Args:
        context: seconds of context; the minimum in causal encoding.
        future: seconds in which the targets lie.
        temperature: divisor of the cosine similarities.
        predictor: how K predictions come from one state: one map applied K times, or K maps.
        steps: maximum number of targets per window.
        windows: maximum number of windows per utterance.
        target_gradient: whether the loss has a gradient for the targets as well as for the predictions.
    """

    self_supervised = True
    compares = True
    metrics = ("skipped", "chance", "accuracy")

    def __init__(
        self,
        dim: int,
        frame_shift: float,
        frame_length: float,
        context: Positive = 2.0,
        future: Positive = 1.0,
        temperature: Positive = 0.1,
        predictor: Literal["recursive", "per_step"] = "recursive",
        steps: Bounded = 24,
        windows: Bounded = 8,
        tap: str = "output",
        encoding: Literal["cut", "causal"] = "cut",
        negatives: Literal["mixed", "utterance", "batch"] = "mixed",
        target_gradient: bool = True,
    ) -> None:
        for name, value in {"temperature": temperature, "steps": steps, "windows": windows}.items():
            if not value > 0:
                raise UserError(f"{name}: {value} is not above 0; give a positive number")
        kind = {"cut": CutWindows, "causal": CausalWindows}[encoding]
        sampler = kind(frame_shift, frame_length, context, future, windows, tap)
        super().__init__(sampler.reads)
        self.windows = sampler
        self.temperature, self.steps = temperature, steps
        self.negatives, self.target_gradient = negatives, target_gradient
        maps = 1 if predictor == "recursive" else steps
        self.predictors = nn.ModuleList(nn.Linear(dim, dim) for _ in range(maps))

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        utterances, tensors = self.windows.choose(batch.drawn, rng)  # (W,)
        skipped = (float(len(batch) - len(np.unique(utterances))), float(len(batch)))
        negatives = choose_negatives(utterances, batch.lang, self.windows.most, self.negatives, rng)  # (W, W)
        taught = negatives.any(1)  # (W,)
        chance = float((1 / (1.0 + negatives[taught].sum(1))).sum())
        tensors |= {"negatives": torch.from_numpy(negatives), "taught": torch.from_numpy(np.flatnonzero(taught))}
        return Share(float(taught.sum()), {"skipped": skipped, "chance": (chance, float(taught.sum()))}, tensors)

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        past, targets = self.windows.gather(encoded, share.tensors)  # (W, D), (W, K, D)
        targets = targets[:, : self.steps] if self.target_gradient else targets[:, : self.steps].detach()
        predictions = self.predict(past, targets.shape[1])  # (W, K, D)
        logits = self.logits(predictions, targets, share.tensors["negatives"])[share.tensors["taught"]]  # (V, K, 1 + W)
        loss = -F.log_softmax(logits, dim=-1)[..., 0].mean(1).sum()  # one unit per window
        beaten, tied = (logits > logits[..., :1]).any(-1), (logits == logits[..., :1]).sum(-1)  # (V, K)
        hits = (~beaten / tied).sum().detach()  # a tie counts as a guess: states that are all equal have the accuracy of chance
        return Loss(loss, {"accuracy": (hits, float(logits.shape[0] * logits.shape[1]))})

    def predict(self, past: Tensor, steps: int) -> Tensor:
        """Predictions (B, K, D) of the next `steps` states from the last context state (B, D)."""
        predictions = []
        state = past
        for step in range(steps):
            if len(self.predictors) == 1:
                state = self.predictors[0](state)
                predictions.append(state)
            else:
                predictions.append(self.predictors[step](past))
        return torch.stack(predictions, dim=1)

    def logits(self, predictions: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
        """Cosine similarities over the temperature (W, K, 1 + W), the positive first; -inf for windows that are not `negatives` (W, W)."""
        queries = F.normalize(full_precision(predictions), dim=-1)
        keys = F.normalize(full_precision(targets), dim=-1)
        all_windows = torch.einsum("wkd,vkd->wkv", queries, keys)  # (W, K, W) the same step of every window
        positive = all_windows.diagonal(dim1=0, dim2=2).T.unsqueeze(-1)  # (W, K, 1)
        return torch.cat([positive, all_windows.masked_fill(~negatives[:, None], float("-inf"))], dim=-1) / self.temperature


def choose_negatives(utterances: np.ndarray, langs: list[str], most: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The negatives of every window as a mask (W, W); `utterances` (W,) holds the utterance of each window.

    They are all other windows of its utterance, `most` random windows of other utterances in its language, or both, as `kind` says.
    """
    codes = np.unique(langs, return_inverse=True)[1][utterances]  # (W,)
    same_utterance = utterances[:, None] == utterances
    candidates = (codes[:, None] == codes) & ~same_utterance
    order = np.where(candidates, rng.random(candidates.shape), 2.0).argsort(axis=1).argsort(axis=1)  # rank of each candidate
    within, across = same_utterance & ~np.eye(len(utterances), dtype=bool), candidates & (order < most)
    return {"utterance": within, "batch": across, "mixed": within | across}[kind]
