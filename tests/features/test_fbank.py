from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2asr.errors import UserError
from m2asr.features.fbank import Fbank


@pytest.fixture(scope="module")
def kaldi() -> tuple[np.ndarray, np.ndarray]:
    """Real speech (samples,) in [-1, 1] and its features (T, 80) by kaldi-native-fbank; tools/make_fbank_reference.py stores them."""
    with np.load(Path(__file__).parent / "reference.npz") as stored:
        return stored["wave"].astype(np.float32) / 32768, stored["feats"]


def test_equals_kaldi(kaldi: tuple[np.ndarray, np.ndarray]) -> None:
    wave, expected = kaldi
    feats = Fbank()(wave)
    assert feats.dtype == np.float32 and feats.shape == expected.shape
    error = np.abs(feats - expected)
    assert np.mean(error < 1e-3) >= 0.999
    assert error.max() < 0.05  # where a band holds next to nothing, float32 cannot say more


@pytest.mark.parametrize(
    "options", [{"num_mel_bins": 40}, {"frame_length": 32.0, "frame_shift": 12.5}, {"low_freq": 100.0, "high_freq": -400.0}]
)
def test_options_mean_what_they_mean_in_torchaudio(kaldi: tuple[np.ndarray, np.ndarray], options: dict) -> None:
    import torch
    from torchaudio.compliance.kaldi import fbank

    wave, _ = kaldi
    expected = fbank(torch.from_numpy(wave)[None] * 32768, **{"num_mel_bins": 80, "dither": 0.0, **options}).numpy()
    error = np.abs(Fbank(**options)(wave) - expected)
    assert np.mean(error < 1e-3) >= 0.999 and error.max() < 0.05


@pytest.mark.parametrize("samples, frames", [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16000, 98)])
def test_only_whole_frames(samples: int, frames: int) -> None:
    fbank = Fbank()
    assert fbank(np.ones(samples, dtype=np.float32)).shape == (frames, 80)
    assert fbank.num_frames(samples) == frames


def test_a_frame_depends_on_its_own_samples_only_and_long_audio_changes_nothing(kaldi: tuple[np.ndarray, np.ndarray]) -> None:
    wave = np.tile(kaldi[0], 25)  # 52 s: more frames than are computed at once
    fbank = Fbank()
    feats = fbank(wave)
    for t in (0, 4095, 4096, len(feats) - 1):
        assert np.allclose(fbank(wave[160 * t : 160 * t + 400])[0], feats[t], atol=1e-3)


def test_silence_is_finite_and_a_constant_offset_is_not_heard(kaldi: tuple[np.ndarray, np.ndarray]) -> None:
    assert np.isfinite(Fbank()(np.zeros(4000, dtype=np.float32))).all()
    assert np.median(np.abs(Fbank()(kaldi[0] + 0.1) - Fbank()(kaldi[0]))) < 0.01


def test_dither_is_random_but_repeats_with_its_generator(kaldi: tuple[np.ndarray, np.ndarray]) -> None:
    dithered = Fbank(dither=1.0)
    first, again, other_seed = (dithered(kaldi[0], np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other_seed)


@pytest.mark.parametrize(
    "options", [{"low_freq": 9000.0}, {"high_freq": 9000.0}, {"high_freq": -9000.0}, {"frame_shift": 0.0}, {"num_mel_bins": 0}]
)
def test_impossible_options_are_refused_in_one_line(options: dict) -> None:
    with pytest.raises(UserError, match=next(iter(options))) as error:
        Fbank(**options)
    assert "\n" not in str(error.value)
