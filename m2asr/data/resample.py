"""Resamples recordings, and plays them at other speeds. Apart from m2asr/data/audio.py, as it needs torch, whose import takes seconds."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import torch

from m2asr.errors import UserError

_FILTER_WIDTH = 32  # zero crossings of the low-pass filter of the resampler


def at_rate(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Resample (N,) samples to `target` Hz, with a low-pass filter against aliasing.

    Raises UserError for a rate below it: such recordings lack the upper part of the spectrum that the others have.
    """
    if rate == target:
        return wave
    if rate < target:
        raise UserError(f"{rate} Hz is below the {target} Hz of the features, and it cannot be raised; set sample_rate in the fbank config")
    return resampler(rate, target)(torch.from_numpy(wave)).numpy()


def at_speed(wave: np.ndarray, rate: int, speed: float, least: int = 0) -> np.ndarray:
    """Play samples (N,) at `rate` Hz at another speed: 1.1 makes them a tenth faster and higher (Ko et al. 2015).

    Where N is at least `least`, so is the result: zeros follow the last sample.
    """
    if speed == 1:
        return wave
    played = _player(rate, speed)(torch.from_numpy(wave))[0].numpy()
    return np.pad(played, (0, max(0, min(least, len(wave)) - len(played))))


@cache
def _player(rate: int, speed: float) -> torch.nn.Module:
    from torchaudio.transforms import Speed  # imported late, as few trainings need it

    return Speed(rate, speed)


@cache
def resampler(rate: int, target: int) -> torch.nn.Module:
    """A low-pass filter that turns samples (..., N) at one rate into samples at another.

    It has an entry for every pair of a numerator and a denominator of rate / target, so that of an odd rate, such as 44101 Hz, is replaced
    by a simpler fraction, which differs from it by less than a millionth.
    """
    from torchaudio.transforms import Resample  # imported late, as few corpora need it

    ratio = Fraction(rate, target).limit_denominator(1000)
    return Resample(ratio.numerator, ratio.denominator, lowpass_filter_width=_FILTER_WIDTH)
