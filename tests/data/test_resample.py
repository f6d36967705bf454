"""Recordings at other rates and speeds keep what features need."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchaudio.functional import resample

from m2asr.data.resample import at_rate, at_speed, resampler
from m2asr.errors import UserError
from m2asr.features.fbank import Fbank
from tests.corpora.trees import wave as speech

WAVE = np.random.default_rng(0).uniform(-0.5, 0.5, 32000).astype(np.float32)


def test_a_faster_recording_keeps_a_window() -> None:
    assert len(at_speed(WAVE[:410], 16000, 1.1)) < 400 <= len(at_speed(WAVE[:410], 16000, 1.1, 400))
    assert len(at_speed(WAVE[:300], 16000, 1.1, 400)) == 300  # too short before


@pytest.mark.parametrize("rate", [44100, 48000])
def test_speech_of_a_higher_rate_has_the_features_of_16_khz(rate: int) -> None:
    """Also with a tone above 8 kHz beside it, which must not fold back into the speech."""
    wave_16k = torch.from_numpy(np.concatenate([speech(number) for number in (2, 3, 8)])).float()
    high = resample(wave_16k, 16000, rate, lowpass_filter_width=64)
    tone = 0.1 * torch.sin(2 * np.pi * 10000 / rate * torch.arange(len(high)))
    fbank = Fbank()
    expected, bins = fbank(wave_16k.numpy()), 76  # the last ones, above 7 kHz, lie at the edge of the filters
    for wave in (high, high + tone):
        feats = fbank(at_rate(wave.numpy(), rate, 16000))
        assert abs(len(feats) - len(expected)) <= 1
        difference = np.abs(feats[: len(expected), :bins] - expected[: len(feats), :bins])
        loud = expected[: len(feats), :bins] > expected.max() - 10  # in silence the two differ by the rounding of samples
        assert loud.mean() > 0.3 and difference[loud].mean() < 0.02 and np.quantile(difference[loud], 0.99) < 0.1


def test_a_rate_is_kept_or_lowered_but_never_raised() -> None:
    assert at_rate(WAVE, 16000, 16000) is WAVE
    with pytest.raises(UserError, match="8000 Hz is below the 16000 Hz of the features, and it cannot be raised"):
        at_rate(WAVE, 8000, 16000)


def test_odd_sample_rates_take_little_memory() -> None:
    sine = np.sin(2 * np.pi * 440 * np.arange(44101) / 44101).astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(at_rate(sine, 44101, 16000)[100:15900] - expected[100:15900]).max() < 0.01
    assert sum(buffer.numel() for buffer in resampler(44101, 16000).buffers()) < 10_000_000
