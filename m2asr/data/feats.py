"""The source of features: stored features, or features computed from the recordings while training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m2asr.config import FbankConfig
from m2asr.data.index import UtteranceIndex
from m2asr.data.resample import at_rate, at_speed
from m2asr.errors import UserError


def dump_of(dump: Path, name: str, speed: float = 1.0) -> Path:
    """The folder of the features of a set whose recordings are played at `speed`: dump/train_en, dump/train_en_sp0.9."""
    return dump / (name if speed == 1 else f"{name}_sp{speed:g}")


class StoredFeats:
    """Reads features that stage fbank has stored, at a random speed each time an utterance is read.

    Args:
        speeds: the speeds to choose from, all equally likely.
        played: for every speed other than 1 the sets with features of that speed, by name; an utterance has the same number in all of them.
    """

    def __init__(self, speeds: Sequence[float] = (1.0,), played: Mapping[float, Mapping[str, UtteranceIndex]] | None = None) -> None:
        self.speeds, self.played = list(speeds), played or {}

    def frames(self, lengths: np.ndarray, speed: float) -> np.ndarray:
        """The frames at a speed, (N,) int32; `lengths` (N,) are the frames at speed 1."""
        return lengths if speed == 1 else np.ceil(lengths / speed).astype(np.int32)

    def __call__(self, index: UtteranceIndex, i: int, rng: np.random.Generator) -> np.ndarray:
        """Float32 (T, F) of utterance i."""
        speed = self.speeds[rng.integers(len(self.speeds))]
        return (index if speed == 1 else self.played[speed][index.name]).feats(i)


class AudioFeats:
    """Computes fbank from the recording, played at a random speed each time an utterance is read (Ko et al. 2015).

    No features are stored, so further speeds need no further disk space.
    """

    def __init__(self, config: FbankConfig, speeds: Sequence[float] = (1.0,)) -> None:
        from m2asr.features.fbank import Fbank

        self.fbank, self.speeds, self.channel = Fbank(**config.geometry()), list(speeds), config.channel

    def frames(self, lengths: np.ndarray, speed: float) -> np.ndarray:
        """The frames at a speed, (N,) int32; `lengths` (N,) are the durations at speed 1 in units of 10 ms."""
        samples = lengths * (self.fbank.sample_rate / 100 / speed)
        return np.maximum(1, 1 + (samples - self.fbank.length) // self.fbank.shift).astype(np.int32)

    def __call__(self, index: UtteranceIndex, i: int, rng: np.random.Generator) -> np.ndarray:
        """Float32 (T, F) of utterance i. Raises UserError if its recording cannot be read or has a lower sample rate."""
        wave, rate = index.audio(i, self.channel)
        wave = at_rate(wave, rate, self.fbank.sample_rate)
        wave = at_speed(wave, self.fbank.sample_rate, self.speeds[rng.integers(len(self.speeds))], self.fbank.length)
        feats = self.fbank(wave, rng)  # (T, F)
        if not len(feats):
            raise UserError(f"{len(wave)} samples are shorter than one window; remove this utterance")
        return feats
