"""Detect speech in a stream with the Silero model (silero-vad, MIT; the wheel holds the model)."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import torch

from m2asr.errors import UserError

RATE = 16000  # Hz, the sample rate of the model
CHUNK = 512  # samples for one probability


def available() -> bool:
    """Whether silero-vad is installed."""
    return importlib.util.find_spec("silero_vad") is not None


class SpeechDetector:
    """Probabilities of speech for every 32 ms of a stream. The model remembers the stream, so every stream needs its own detector.

    It uses the TorchScript model, which needs torch alone. Raises UserError if silero-vad is not installed.
    """

    def __init__(self) -> None:
        if not available():
            raise UserError("cutting at pauses needs silero-vad: pip install silero-vad; or use --cut windows")
        threads = torch.get_num_threads()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations: of TorchScript in torch, of a function of the standard library in the package
            from silero_vad import load_silero_vad

            self._model = load_silero_vad()
        torch.set_num_threads(threads)  # importing silero_vad sets them to 1
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self._model.reset_states()
        self._rest = np.zeros(0, dtype=np.float32)

    def __call__(self, wave: np.ndarray) -> list[float]:
        """The probabilities of the chunks that the next samples (N,) at 16 kHz complete."""
        wave = np.concatenate([self._rest, wave])
        size = len(wave) // CHUNK * CHUNK
        self._rest = wave[size:]
        with torch.inference_mode():
            return [self._model(chunk[None], RATE).item() for chunk in torch.from_numpy(wave[:size]).split(CHUNK)] if size else []

    def flush(self) -> list[float]:
        """The probability of the last samples, padded with zeros, at the end of a stream."""
        return self(np.zeros(-len(self._rest) % CHUNK, dtype=np.float32)) if len(self._rest) else []
