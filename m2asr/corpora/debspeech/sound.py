"""Decodes the sound formats of the packages and writes FLAC: 16 kHz, one channel."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from m2asr.errors import UserError

RATE = 16000  # Hz of the written files
SHORTEST, LONGEST = 0.3, 20.0  # seconds of recordings that are used
SILENT = 0.01  # a recording that never gets above this amplitude holds no speech


def decode_file(data: bytes) -> tuple[np.ndarray, int]:
    """Samples (N,) float32 of an Ogg or WAV file, channels averaged, and their rate in Hz. Raises UserError for a damaged file."""
    try:
        wave, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise UserError(str(error).split(": ")[-1].rstrip(".")) from None
    return wave.mean(1), rate


def decode_g722(data: bytes) -> tuple[np.ndarray, int]:
    """Samples (N,) float32 of ITU-T G.722 at 64 kbit/s, and their rate in Hz. Raises UserError if the package G722 is missing."""
    try:
        from G722 import G722
    except ImportError:
        raise UserError("G.722 recordings need the package G722: pip install m2asr[debspeech], or pip install G722") from None
    wave = np.asarray(G722(16000, 64000).decode(data), dtype=np.int16)  # a fresh decoder: no state from the recording before
    return (wave / 32768).astype(np.float32), 16000


def decode_u8(data: bytes, rate: int = 11025) -> tuple[np.ndarray, int]:
    """Samples (N,) float32 of unsigned bytes, and their rate in Hz."""
    return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128, rate


def resample(wave: np.ndarray, rate: int) -> np.ndarray:
    """Resample (N,) samples at `rate` Hz to (M,) at 16 kHz, without frequencies above the lower Nyquist frequency."""
    if rate == RATE:
        return wave
    import torch

    return _resampler(rate)(torch.from_numpy(wave)).numpy()


@cache
def _resampler(rate: int):  # noqa: ANN202 - torchaudio is imported here
    from torchaudio.transforms import Resample

    return Resample(rate, RATE)


def write_flac(path: Path, wave: np.ndarray) -> None:
    """Write samples (N,) at 16 kHz, 16 bits each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(wave, -1, 1 - 1 / 32768), RATE, subtype="PCM_16")
