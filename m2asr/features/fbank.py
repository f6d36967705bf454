"""Computes log mel filterbank features as Kaldi does."""

from __future__ import annotations

import numpy as np
import torch
from torchaudio.compliance.kaldi import get_mel_banks

from m2asr.errors import UserError

_FLOOR = float(np.finfo(np.float32).eps)
_FRAMES_AT_ONCE = 4096  # 41 s: keeps the workspace of a long recording small


class Fbank:
    """Kaldi's compute-fbank-feats: Povey window, pre-emphasis 0.97, mean of a frame removed, power spectrum, only complete frames.

    Times are in milliseconds, frequencies in Hz; `high_freq` 0 is half the sample rate, a negative one counts from there. The window
    and the mel matrix are computed once. Raises UserError for impossible values.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        num_mel_bins: int = 80,
        frame_length: float = 25.0,
        frame_shift: float = 10.0,
        dither: float = 0.0,
        low_freq: float = 20.0,
        high_freq: float = 0.0,
    ) -> None:
        self.sample_rate, self.num_mel_bins, self.dither = sample_rate, num_mel_bins, dither
        top = sample_rate / 2
        if not 0 <= low_freq < (high_freq if high_freq > 0 else high_freq + top) <= top:
            raise UserError(f"fbank: low_freq {low_freq} and high_freq {high_freq}: 0 <= low < high <= {top:g} Hz must hold")
        if min(frame_length, frame_shift) * sample_rate < 2000 or num_mel_bins < 4:
            raise UserError(f"fbank: frame_length {frame_length}, frame_shift {frame_shift} or num_mel_bins {num_mel_bins} is too small")
        self.length = int(sample_rate * frame_length / 1000)
        self.shift = int(sample_rate * frame_shift / 1000)
        self.padded = 1 << (self.length - 1).bit_length()
        self._window = torch.from_numpy((np.hanning(self.length) ** 0.85).astype(np.float32))
        # Triangles of equal width on the mel scale 1127 ln(1 + f / 700); the last three arguments: no vocal tract warping.
        mel, _ = get_mel_banks(num_mel_bins, self.padded, sample_rate, low_freq, high_freq, 100.0, -500.0, 1.0)
        self._mel = mel.float().T  # (padded / 2, bins)

    def num_frames(self, samples: int) -> int:
        """The number of frames of a recording of so many samples; 0 if it is shorter than one frame."""
        return max(0, 1 + (samples - self.length) // self.shift)

    def __call__(self, wave: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Features (T, num_mel_bins) float32 of a waveform (samples,) float32 in [-1, 1]; `rng` draws the dither (default: seed 0)."""
        rng = rng or np.random.default_rng(0)
        frames = self.num_frames(len(wave))
        out = np.empty((frames, self.num_mel_bins), dtype=np.float32)
        wave = np.ascontiguousarray(wave, dtype=np.float32)
        for start in range(0, frames, _FRAMES_AT_ONCE):
            stop = min(start + _FRAMES_AT_ONCE, frames)
            out[start:stop] = self._log_mel(wave[start * self.shift : (stop - 1) * self.shift + self.length], rng)
        return out

    def _log_mel(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        scaled = torch.from_numpy(wave) * 32768.0  # Kaldi reads 16-bit integers
        frames = scaled.unfold(0, self.length, self.shift)  # (T, length)
        if self.dither:
            noise = rng.standard_normal(frames.shape, dtype=np.float32)
            frames = frames + self.dither * torch.from_numpy(noise)
        frames = frames - frames.mean(dim=1, keepdim=True)
        previous = torch.nn.functional.pad(frames, (1, 0), mode="replicate")[:, :-1]
        frames = (frames - 0.97 * previous) * self._window
        spectrum = torch.fft.rfft(frames, n=self.padded)[:, : self.padded // 2]
        power = spectrum.real.square() + spectrum.imag.square()  # (T, padded / 2)
        return (power @ self._mel).clamp_(min=_FLOOR).log_().numpy()
