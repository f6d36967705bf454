"""Encode batches, or the features of utterances, outside training."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch

from m2asr.data.batch import Batch, pad
from m2asr.models.encoded import Encoded
from m2asr.objectives.system import System
from m2asr.objectives.view import View

WHOLE = View(train=False, grad=False)


def encode_batch(system: System, batch: Batch, taps: Collection[str] | None = None) -> Encoded:
    """The states of complete utterances at `taps`, by default those that the objectives read, without masks or dropout."""
    if taps is None:
        reads = [read for objective in system.objectives.values() for read in objective.reads]
        taps = {tap for view, tap in reads if view.input == "feats" and view.cut is None}
    return system.encode(system.prepare(batch, views=[WHOLE]).to(system.mean.device), WHOLE, taps)


def encode(system: System, feats: Sequence[np.ndarray], langs: Sequence[str], taps: Collection[str] | None = None) -> Encoded:
    """The states of utterances with features (T_b, F), encoded as one batch without gradients; a language is empty where it is unknown.

    They are at `taps`, by default those that the objectives read.
    """
    names = [str(number) for number in range(len(feats))]
    batch = Batch(
        inputs={"feats": pad(feats)},  # (B, T, F)
        lengths={"feats": torch.tensor([len(rows) for rows in feats])},  # (B,)
        targets={},
        target_lengths={},
        lang=list(langs),
        speakers=names,
        utt_ids=names,
        key=(0, "", 0, 0),
    )
    with torch.inference_mode():
        return encode_batch(system, batch, taps)
