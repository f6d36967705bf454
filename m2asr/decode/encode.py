"""From the features of some utterances to encoder states, outside training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from m2asr.data.batch import Batch, pad
from m2asr.models.encoded import Encoded
from m2asr.objectives.system import System
from m2asr.objectives.view import View


def encode(system: System, feats: Sequence[np.ndarray]) -> Encoded:
    """The states of utterances with features (T_b, F), encoded together without masks, dropout or gradients."""
    names = [str(number) for number in range(len(feats))]
    batch = Batch(
        inputs={"feats": pad(feats)},  # (B, T, F)
        lengths={"feats": torch.tensor([len(rows) for rows in feats])},  # (B,)
        targets={},
        target_lengths={},
        lang=[""] * len(feats),
        speakers=names,
        utt_ids=names,
        key=(0, "", 0, 0),
    )
    with torch.inference_mode():
        return system.encode(batch.to(system.mean.device), View(train=False, grad=False), seed=0)
