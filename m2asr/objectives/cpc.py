"""Contrastive predictive coding on encoder states: from the past of an utterance, tell its future from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.data.batch import Batch
from m2asr.errors import UserError
from m2asr.models.encoded import Encoded
from m2asr.objectives.objective import Loss, Objective, full_precision
from m2asr.objectives.view import View
from m2asr.objectives.windows import CausalWindows, CutWindows


class CPC(Objective):
    """InfoNCE (van den Oord et al. 2018) between predictions from a context state and what follows it.

    A context state predicts the next K targets, by one linear map applied again and again or by one map per step. No sample of a
    target reaches its context, in either of two ways:

    * `encoding: cut`: an utterance is cut into windows of a context and a future piece, encoded apart, with a gap of one analysis
      window between them. Context and targets are states at `tap`.
    * `encoding: causal`: the utterance is encoded once, and states see no later one. Contexts are states at `tap` at random places,
      targets are front-end states, which see 70 ms each, from the first that shares no sample with the context.

    Negatives of step k are the targets of step k in other windows, so the place in a window does not give the answer away: those of
    the same utterance (`negatives: utterance`), as many of other utterances in the same language (`batch`), or both (`mixed`:
    neither speaker nor language gives the answer away). Utterances that are too short for a window are skipped and counted in the
    metric `skipped`; a window without negatives teaches nothing, and is left out.

    Args:
        context: seconds of context, at least so many in causal encoding.
        future: seconds in which the targets lie.
        temperature: of the cosine similarities.
        predictor: how K predictions come from one state.
        steps: the most targets per window.
        windows: the most windows per utterance.
        target_gradient: whether the loss also moves the targets towards the predictions, or only these.
    """

    self_supervised = True
    coupled = True

    def __init__(
        self,
        dim: int,
        frame_shift: float,
        frame_length: float,
        context: float = 2.0,
        future: float = 1.0,
        temperature: float = 0.1,
        predictor: Literal["recursive", "per_step"] = "recursive",
        steps: int = 24,
        windows: int = 8,
        tap: str = "output",
        encoding: Literal["cut", "causal"] = "cut",
        negatives: Literal["mixed", "utterance", "batch"] = "mixed",
        target_gradient: bool = True,
    ) -> None:
        super().__init__()
        for name, value in {"temperature": temperature, "steps": steps, "windows": windows}.items():
            if not value > 0:
                raise UserError(f"{name}: {value} is not possible; give a number above 0")
        kind = {"cut": CutWindows, "causal": CausalWindows}[encoding]
        self.windows = kind(frame_shift, frame_length, context, future, windows)
        self.views = self.windows.views
        self.temperature, self.steps, self.tap = temperature, steps, tap
        self.negatives, self.target_gradient = negatives, target_gradient
        maps = 1 if predictor == "recursive" else steps
        self.predictors = nn.ModuleList(nn.Linear(dim, dim) for _ in range(maps))

    def weight(self, batch: Batch, lengths: Tensor) -> float:
        counts = self.windows.count(batch.lengths["feats"], lengths).cpu()  # (B,)
        langs = np.array(batch.lang)
        others = torch.from_numpy(langs[:, None] == langs).to(counts) @ counts - counts  # (B,) windows of others in the language
        enough = {"utterance": counts > 1, "batch": others > 0, "mixed": (counts > 1) | (others > 0)}[self.negatives]
        return float(counts[enough].sum())

    def forward(self, encoded: Mapping[View, Encoded], batch: Batch) -> Loss:
        past, targets, rows = self.windows.gather(encoded, self.tap)  # (W, D), (W, K, D), (W,) the utterance of each
        targets = targets[:, : self.steps] if self.target_gradient else targets[:, : self.steps].detach()
        skipped = float(len(batch.utt_ids) - len(rows.unique()))
        metrics: dict[str, tuple[float | Tensor, float]] = {"skipped": (skipped, float(len(batch.utt_ids)))}
        negatives = choose_negatives(rows.cpu(), batch.lang, self.windows.most, self.negatives).to(past.device)
        taught = negatives.any(1)  # (W,)
        if not taught.any():
            return Loss(sum(p.sum() for p in self.parameters()) * 0.0, 0.0, metrics)
        predictions = self.predict(past, targets.shape[1])  # (W, K, D)
        logits = self.logits(predictions, targets, negatives)[taught]  # (V, K, 1 + W)
        loss = -F.log_softmax(logits, dim=-1)[..., 0].mean(1).sum()  # one unit per window
        count = float(logits.shape[0] * logits.shape[1])
        ahead, level = (logits > logits[..., :1]).any(-1), (logits == logits[..., :1]).sum(-1)  # (V, K)
        metrics["accuracy"] = ((~ahead / level).sum().detach(), count)  # a tie is a guess: states that are all alike hit by chance
        metrics["chance"] = (logits.shape[1] * (1 / (1.0 + negatives[taught].sum(1))).sum(), count)
        return Loss(loss, float(len(logits)), metrics)

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
        """Cosine similarities over the temperature (W, K, 1 + W), the positive first; windows that are not `negatives` (W, W) are -inf."""
        queries = F.normalize(full_precision(predictions), dim=-1)
        keys = F.normalize(full_precision(targets), dim=-1)
        all_windows = torch.einsum("wkd,vkd->wkv", queries, keys)  # (W, K, W) the same step of every window
        positive = all_windows.diagonal(dim1=0, dim2=2).T.unsqueeze(-1)  # (W, K, 1)
        return torch.cat([positive, all_windows.masked_fill(~negatives[:, None], float("-inf"))], dim=-1) / self.temperature


def choose_negatives(rows: Tensor, langs: list[str], most: int, kind: str) -> Tensor:
    """Mask (W, W): for each window others of its utterance, `most` at random of other utterances in its language, or both."""
    ids = {lang: number for number, lang in enumerate(sorted(set(langs)))}
    codes = torch.tensor([ids[lang] for lang in langs])[rows]  # (W,)
    same = rows[:, None] == rows
    candidates = (codes[:, None] == codes) & ~same
    order = torch.rand(candidates.shape).masked_fill(~candidates, 2.0).argsort(dim=1).argsort(dim=1)  # rank of each candidate
    own, others = same & ~torch.eye(len(rows), dtype=torch.bool), candidates & (order < most)
    return {"utterance": own, "batch": others, "mixed": own | others}[kind]
