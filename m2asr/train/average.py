"""The mean of the best checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.train import checkpoint


def average_best(exp: Path, count: int) -> dict[int, float]:
    """Write exp/model.pt from the `count` best epochs of a run; returns their scores by epoch, the best first.

    Raises UserError where fewer epochs were kept.
    """
    state = checkpoint.load_latest(exp / "checkpoints")
    if state is None:
        raise UserError(f"{exp / 'checkpoints'}: no checkpoint there; run stage 4 (train) first, or give the folder of a run as --exp")
    best = checkpoint.BestCheckpoints(exp / "checkpoints", count)
    best.load_state_dict(state["best"])
    if not 1 <= count <= len(best.scores):
        raise UserError(f"--n {count}: {exp} keeps {len(best.scores)} evaluated epochs (train.average_best); give 1 to {len(best.scores)}")
    chosen = best.ranking()[:count]
    average([best.path(epoch) for epoch in sorted(chosen)], exp / "model.pt")
    return {epoch: best.scores[epoch] for epoch in chosen}


def average(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of several files' weights, summed in float64; whole numbers are taken from the last.

    Raises UserError where a file is damaged, missing or of another model.
    """
    if not paths:
        raise UserError(f"{out}: there is no checkpoint to average; train at least one epoch")
    sums: dict[str, Tensor] = {}
    for path in paths:
        state = checkpoint.load(path, needs=("model", "config"))
        weights = state["model"]
        if sums and _shapes(weights) != _shapes(sums):
            raise UserError(f"{path}: the weights of another model than {paths[0]}; average checkpoints of one run")
        for key, value in weights.items():
            sums[key] = sums.get(key, 0.0) + value.double() if value.is_floating_point() else value
    mean = {key: (sums[key] / len(paths)).to(value.dtype) if value.is_floating_point() else value for key, value in weights.items()}
    checkpoint.write(out, {"model": mean, "config": state["config"]})


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in weights.items()}
