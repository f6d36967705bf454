"""Recordings of any rate and number of channels as streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from m2asr.data import recording as module
from m2asr.data.audio import read_audio
from m2asr.data.recording import Recording, StreamResampler, recordings
from m2asr.data.resample import resampler
from m2asr.errors import UserError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("rate, target", [(44100, 16000), (48000, 16000), (8000, 16000), (11025, 16000), (16000, 22050)])
@pytest.mark.parametrize("sizes", [(7, 1000, 20000), (50000,), (1, 2, 30000)])
def test_resampling_block_by_block_equals_all_at_once(rate, target, sizes):
    wave = RNG.standard_normal((2, 2 * rate + 17)).astype(np.float32)
    expected = resampler(rate, target)(torch.from_numpy(wave)).numpy()
    resample, resampled, start, number = StreamResampler(rate, target), [], 0, 0
    while start < wave.shape[1]:
        size = sizes[number % len(sizes)]
        resampled.append(resample(wave[:, start : start + size]))
        start, number = start + size, number + 1
    resampled = np.concatenate([*resampled, resample.rest()], axis=1)
    assert resampled.shape == expected.shape and np.abs(resampled - expected).max() < 1e-6


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_blocks_are_the_recording(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, 0.1 * RNG.standard_normal(70001), 16000)
    expected, _ = read_audio(str(path))
    monkeypatch.setattr(module, "BLOCK_SECONDS", 0.7)
    blocks = list(Recording(path).blocks(16000))
    assert len(blocks) > 5 and all(block.dtype == np.float32 for block in blocks)
    assert np.abs(np.concatenate(blocks, axis=1)[0] - expected).max() < 1e-6


def test_channels_are_mixed_or_kept(tmp_path):
    wave = (0.1 * RNG.standard_normal((16000, 3))).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    recording = Recording(tmp_path / "a.wav")
    assert (recording.channels, recording.rate, recording.seconds, recording.truncation) == (3, 16000, 1.0, None)
    assert np.array_equal(next(recording.blocks(16000, mix=False)), wave.T)
    assert np.allclose(next(recording.blocks(16000)), wave.mean(1)[None], atol=1e-7)
    assert np.concatenate(list(recording.blocks(8000, mix=False)), axis=1).shape == (3, 8000)


def test_recordings_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "phone.m4a").write_bytes(b"\0\0\0 ftypM4A ")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    for name, message in (
        ("text.wav", "cannot read"),
        ("gone.mp3", "No such file"),
        ("none.wav", "it has 0 samples"),
        ("phone.m4a", "ffmpeg -i phone.m4a phone.wav"),
    ):
        with pytest.raises(UserError, match=message) as error:
            Recording(tmp_path / name)
        assert "\n" not in str(error.value) and name in str(error.value)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.1]), 16000, subtype="FLOAT")
    with pytest.raises(UserError, match="not finite, or above 2"):
        list(Recording(tmp_path / "nan.wav").blocks(16000))


def test_a_recording_that_lost_its_end_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * RNG.standard_normal(32000), 16000)
    path.write_bytes(path.read_bytes()[:40000])
    recording = Recording(path)
    assert "its header promises" in recording.truncation
    assert 19000 < sum(block.shape[1] for block in recording.blocks(16000)) < 20000


def test_folders_are_searched_at_any_depth(tmp_path):
    for name in ("b.wav", "a.MP3", "deep/er/c.opus", "deep/video.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = recordings(tmp_path)
    assert [str(relative) for _, relative in files] == ["a.MP3", "b.wav", "deep/er/c.opus", "deep/video.mp4"]
    assert all(path == tmp_path / relative for path, relative in files)
    assert recordings(Path("x/notes.txt")) == [(Path("x/notes.txt"), Path("notes.txt"))]  # what is named is taken
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no recording in this folder"):
        recordings(tmp_path / "empty")


def test_an_odd_rate_is_resampled_block_by_block_too():
    wave = np.random.default_rng(1).standard_normal((1, 100_000)).astype(np.float32)
    expected = resampler(44101, 16000)(torch.from_numpy(wave)).numpy()
    resample = StreamResampler(44101, 16000)
    resampled = np.concatenate([resample(wave[:, :30_000]), resample(wave[:, 30_000:]), resample.rest()], axis=1)
    assert resampled.shape == expected.shape and np.abs(resampled - expected).max() < 1e-6
