"""The mean of the best checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.train import checkpoint


def average(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of several files' weights, summed in float64; whole numbers are taken from the first.

    Raises UserError where a file is damaged, missing or of another model.
    """
    if not paths:
        raise UserError(f"{out}: there is no checkpoint to average; train at least one epoch")
    sums: dict[str, Tensor] = {}
    for path in paths:
        state = checkpoint.load(path)
        weights = state["model"]
        if sums and {key: value.shape for key, value in weights.items()} != {key: value.shape for key, value in sums.items()}:
            raise UserError(f"{path}: the weights of another model than {paths[0]}; average checkpoints of one run")
        for key, value in weights.items():
            if key not in sums:
                sums[key] = value.double() if value.is_floating_point() else value
            elif value.is_floating_point():
                sums[key] += value.double()
    config, first = state["config"], weights
    mean = {key: (value / len(paths)).to(first[key].dtype) if torch.is_floating_point(first[key]) else value for key, value in sums.items()}
    checkpoint.write(out, {"model": mean, "config": config})
