from __future__ import annotations

import numpy as np
import pytest

from m2asr.features.cmvn import accumulate, mean_and_scale


def test_statistics_add_up_to_those_of_all_frames() -> None:
    feats = np.random.default_rng(0).normal(5.0, 3.0, size=(300, 7)).astype(np.float32)
    stats = accumulate(feats[:120]) + accumulate(feats[120:])
    assert stats.shape == (2, 8) and stats.dtype == np.float64
    assert stats[0, -1] == 300 and stats[1, -1] == 0  # as Kaldi stores them
    mean, scale = mean_and_scale(stats)
    normalized = (feats - mean) * scale
    assert np.allclose(normalized.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(normalized.std(axis=0), 1, atol=1e-5)


def test_a_constant_channel_stays_finite() -> None:
    mean, scale = mean_and_scale(accumulate(np.full((10, 2), 3.0, dtype=np.float32)))
    assert np.allclose(mean, 3.0) and np.isfinite(scale).all()


def test_no_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frames"):
        mean_and_scale(np.zeros((2, 5)))
