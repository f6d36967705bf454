"""Where an utterance's features come from: stored ones, or computed from its recording while training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from m2asr.config import FbankConfig
from m2asr.data.audio import at_rate
from m2asr.data.index import UtteranceIndex
from m2asr.errors import UserError


class StoredFeats:
    """Features as stage fbank stored them."""

    stretch = 1.0  # how much longer than its index says an utterance may get

    def __call__(self, index: UtteranceIndex, i: int, rng: np.random.Generator) -> np.ndarray:
        """Float32 (T, F) of utterance i."""
        return index.feats(i)


class AudioFeats:
    """Fbank of the recording, played at one of some speeds, drawn anew whenever an utterance is read (Ko et al. 2015).

    Speed 1.1 is a tenth faster and higher. Nothing is stored, so several speeds need no more disk than one.
    """

    def __init__(self, config: FbankConfig, speeds: Sequence[float] = (1.0,)) -> None:
        from torchaudio.transforms import Speed  # imported late, as only this source needs it

        from m2asr.features.fbank import Fbank

        self.fbank = Fbank(**config.model_dump(exclude={"compress"}))
        self.speeds = [None if speed == 1 else Speed(config.sample_rate, speed) for speed in speeds]
        self.stretch = max(1.0, 1 / min(speeds))

    def __call__(self, index: UtteranceIndex, i: int, rng: np.random.Generator) -> np.ndarray:
        """Float32 (T, F) of utterance i. Raises UserError where its recording cannot be read or has a lower sample rate."""
        wave, rate = index.audio(i)
        wave = at_rate(wave, rate, self.fbank.sample_rate)
        speed = self.speeds[rng.integers(len(self.speeds))]
        if speed is not None:
            wave = speed(torch.from_numpy(wave))[0].numpy()
        feats = self.fbank(wave, rng)  # (T, F)
        if not len(feats):
            raise UserError(f"{len(wave)} samples are less than one window; remove this utterance")
        return feats
