"""Contrastive predictive coding on encoder states: from the past of an utterance, tell its future from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.data.batch import Batch
from m2asr.models.encoded import Encoded
from m2asr.objectives.objective import Loss, Objective, full_precision
from m2asr.objectives.view import Cut, View


class CPC(Objective):
    """InfoNCE (van den Oord et al. 2018) between predictions from a context state and the encoder states that follow.

    An utterance is cut into windows of a context and a future piece, encoded apart, with a gap of one analysis window between
    them, so that no sample of the future reaches the context. The last context state predicts the K future states, by one linear
    map applied again and again or by one map per step. Negatives of step k are the states of step k in the other windows of the
    utterance and in about as many windows of other utterances in the same language: neither place in the piece nor speaker
    nor language gives the answer away. `context` and `future` are seconds; utterances shorter than both are skipped and counted
    in the metric `skipped`.
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
    ) -> None:
        super().__init__()
        gap = -(-int(frame_length) // int(frame_shift)) - 1  # frames that share samples with the last context frame
        cut = {"context": round(context * 1000 / frame_shift), "gap": gap, "future": round(future * 1000 / frame_shift)}
        cut["windows"] = windows
        self.views = (View(Cut(**cut, piece="context")), View(Cut(**cut, piece="future")))
        self.temperature, self.steps, self.tap = temperature, steps, tap
        maps = 1 if predictor == "recursive" else steps
        self.predictors = nn.ModuleList(nn.Linear(dim, dim) for _ in range(maps))

    def weight(self, batch: Batch, lengths: Tensor) -> float:
        return float(self.views[0].cut.count(batch.lengths["feats"]).sum())

    def forward(self, encoded: Mapping[View, Encoded], batch: Batch) -> Loss:
        context, future = (encoded[view] for view in self.views)
        rows = context.aux["rows"]  # (W,) the utterance of each window
        skipped = float(len(batch.utt_ids) - len(rows.unique()))
        metrics: dict[str, tuple[float | Tensor, float]] = {"skipped": (skipped, float(len(batch.utt_ids)))}
        if len(rows) == 0:
            return Loss(sum(p.sum() for p in self.parameters()) * 0.0, 0.0, metrics)
        past = context.states[self.tap][:, -1]  # (W, D): pieces have one length, so the last state is no padding
        targets = future.states[self.tap][:, : self.steps]  # (W, K, D)
        predictions = self.predict(past, targets.shape[1])  # (W, K, D)
        negatives = _negatives(rows.cpu(), batch.lang, self.views[0].cut.windows).to(past.device)
        logits = self.logits(predictions, targets, negatives)  # (W, K, 1 + W)
        loss = -F.log_softmax(logits, dim=-1)[..., 0].mean(1).sum()  # one unit per window
        count = float(logits.shape[0] * logits.shape[1])
        metrics["accuracy"] = ((logits.argmax(-1) == 0).sum().detach(), count)
        metrics["chance"] = (logits.shape[1] * (1 / (1.0 + negatives.sum(1))).sum(), count)
        return Loss(loss, float(len(rows)), metrics)

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


def _negatives(rows: Tensor, langs: list[str], most: int) -> Tensor:
    """Mask (W, W): for each window those of the same utterance, and `most` at random of other utterances in its language."""
    ids = {lang: number for number, lang in enumerate(sorted(set(langs)))}
    codes = torch.tensor([ids[lang] for lang in langs])[rows]  # (W,)
    same = rows[:, None] == rows
    candidates = (codes[:, None] == codes) & ~same
    order = torch.rand(candidates.shape).masked_fill(~candidates, 2.0).argsort(dim=1).argsort(dim=1)  # rank of each candidate
    return (same & ~torch.eye(len(rows), dtype=torch.bool)) | (candidates & (order < most))
