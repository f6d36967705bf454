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

    Every utterance is cut into a context and a future piece, encoded apart, with a gap of one analysis window between them, so
    that no sample of the future reaches the context. The last context state predicts the K future states, by one linear map
    applied again and again or by one map per step. Half of the negatives are other steps of the same future, half are the same
    step of other utterances in the same language: neither speaker nor language gives the answer away. `context` and `future`
    are seconds; utterances shorter than both are skipped and counted in the metric `skipped`.
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
        tap: str = "output",
    ) -> None:
        super().__init__()
        gap = -(-int(frame_length) // int(frame_shift)) - 1  # frames that share samples with the last context frame
        cut = {"context": round(context * 1000 / frame_shift), "gap": gap, "future": round(future * 1000 / frame_shift)}
        self.views = (View(Cut(**cut, piece="context")), View(Cut(**cut, piece="future")))
        self.temperature, self.steps, self.tap = temperature, steps, tap
        maps = 1 if predictor == "recursive" else steps
        self.predictors = nn.ModuleList(nn.Linear(dim, dim) for _ in range(maps))

    def weight(self, batch: Batch, lengths: Tensor) -> float:
        return float((batch.lengths["feats"] >= self.views[0].cut.total).sum())

    def forward(self, encoded: Mapping[View, Encoded], batch: Batch) -> Loss:
        context, future = (encoded[view] for view in self.views)
        rows = context.aux["rows"]  # (B',) utterances that were long enough
        metrics: dict[str, tuple[float | Tensor, float]] = {"skipped": (float(len(batch.utt_ids) - len(rows)), float(len(batch.utt_ids)))}
        if len(rows) == 0:
            return Loss(sum(p.sum() for p in self.parameters()) * 0.0, 0.0, metrics)
        past = context.states[self.tap][:, -1]  # (B', D): pieces have one length, so the last state is no padding
        targets = future.states[self.tap][:, : self.steps]  # (B', K, D)
        predictions = self.predict(past, targets.shape[1])  # (B', K, D)
        langs = [batch.lang[row] for row in rows.tolist()]
        logits = self.logits(predictions, targets, langs)  # (B', K, 1 + negatives)
        loss = -F.log_softmax(logits, dim=-1)[..., 0].mean(1).sum()  # one unit per utterance
        count = float(logits.shape[0] * logits.shape[1])
        candidates = (logits > float("-inf")).sum(-1).float()
        metrics["accuracy"] = ((logits.argmax(-1) == 0).sum().detach(), count)
        metrics["chance"] = ((1 / candidates).sum(), count)
        return Loss(loss, self.weight(batch, context.lengths), metrics)

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

    def logits(self, predictions: Tensor, targets: Tensor, langs: list[str]) -> Tensor:
        """Cosine similarities over the temperature (B, K, 1 + N), the positive first; absent negatives are -inf."""
        batch, steps, _ = targets.shape
        queries = F.normalize(full_precision(predictions), dim=-1)
        keys = F.normalize(full_precision(targets), dim=-1)
        within = torch.einsum("bkd,bjd->bkj", queries, keys)  # (B, K, K) all steps of the same utterance
        across = torch.einsum("bkd,ckd->bkc", queries, keys)  # (B, K, B) the same step of all utterances
        positive = within.diagonal(dim1=1, dim2=2).unsqueeze(-1)  # (B, K, 1)
        own_step = torch.eye(steps, dtype=torch.bool, device=targets.device)
        within = within.masked_fill(own_step, float("-inf"))
        chosen = _same_language(langs, max(1, steps - 1)).to(targets.device)  # (B, B)
        across = across.masked_fill(~chosen[:, None, :], float("-inf"))
        return torch.cat([positive, within, across], dim=-1) / self.temperature


def _same_language(langs: list[str], most: int) -> Tensor:
    """For each utterance at most `most` other utterances of its language, drawn at random, as a mask (B, B)."""
    ids = {lang: number for number, lang in enumerate(sorted(set(langs)))}
    codes = torch.tensor([ids[lang] for lang in langs])
    candidates = (codes[:, None] == codes) & ~torch.eye(len(langs), dtype=torch.bool)
    order = torch.rand(candidates.shape).masked_fill(~candidates, 2.0).argsort(dim=1).argsort(dim=1)  # rank of each candidate
    return candidates & (order < most)
