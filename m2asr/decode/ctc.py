"""Greedy CTC search over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from m2asr.decode.hypothesis import Hypothesis

BLANK = 0


def greedy(log_probs: Tensor, lengths: Tensor) -> list[Hypothesis]:
    """The most probable label of every state, with repeats merged and blanks removed; log_probs (B, T, V), lengths (B,)."""
    scores, best = log_probs.max(-1)  # (B, T)
    valid = torch.arange(best.shape[1], device=best.device) < lengths[:, None]
    first = torch.ones_like(valid)
    first[:, 1:] = best[:, 1:] != best[:, :-1]
    keep = (valid & first & (best != BLANK)).cpu()
    totals = (scores * valid).sum(1).tolist()
    best = best.cpu()
    return [Hypothesis(path[mask].tolist(), total) for path, mask, total in zip(best, keep, totals, strict=True)]
