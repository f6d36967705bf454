"""Reads recordings of any length, format, rate and number of channels, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from m2asr.data.audio import LOUDEST, open_audio
from m2asr.data.resample import resampler
from m2asr.errors import UserError

BLOCK_SECONDS = 20.0
READ = (".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64", ".sph")
CONVERTED = (".m4a", ".aac", ".wma", ".amr", ".3gp", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")  # formats that soundfile cannot read


class Recording:
    """A recording: the facts of its header, and its samples block by block, so that memory does not grow with its length.

    `seconds` is its length by the header, `truncation` a message if it has lost its end, or None. Raises UserError if the file is missing,
    unreadable, or has no sample.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() in CONVERTED and self.path.is_file():
            convert = f"ffmpeg -i {self.path.name} {self.path.stem}.wav"
            raise UserError(f"{path}: this format cannot be read; convert it first, for instance: {convert}")
        with open_audio(str(path)) as (file, self.truncation):
            self.rate, self.channels, self.seconds = file.samplerate, file.channels, file.frames / file.samplerate
        if self.seconds == 0:
            raise UserError(f"{path}: it has 0 samples; record or fetch it again")

    def blocks(self, rate: int, mix: bool = True) -> Iterator[np.ndarray]:
        """Its samples at `rate` Hz in blocks (C, N) float32 of about 20 s; with `mix` the mean of the channels, (1, N).

        Raises UserError if a block cannot be read.
        """
        resample = StreamResampler(self.rate, rate) if self.rate != rate else None
        with open_audio(str(self.path)) as (file, _):
            while len(block := file.read(round(BLOCK_SECONDS * self.rate), dtype="float32", always_2d=True)):  # (N, C)
                if not (np.abs(block) <= LOUDEST).all():  # false for NaN
                    raise UserError(
                        f"{self.path}: samples before {file.tell() / self.rate:.0f} s are not finite, or above 2^32; convert it again"
                    )
                wave = np.ascontiguousarray((block.mean(axis=1, keepdims=True) if mix else block).T)  # (C, N)
                yield resample(wave) if resample else wave
        if resample:
            yield resample.rest()


class StreamResampler:
    """Resamples block by block, with the same result as for all samples at once; samples wait until their context is read."""

    def __init__(self, rate: int, target: int) -> None:
        self._resample = resampler(rate, target)
        self._down, self._up = self._resample.orig_freq, self._resample.new_freq  # `_down` samples become `_up` samples
        self._context = -(-self._resample.width // self._down) * self._down  # samples that the filter needs on either side
        self._buffer: np.ndarray | None = None  # (C, N) samples still to return, after `_before` samples that were returned
        self._before = 0

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """The next samples (C, N') after a further block (C, N)."""
        self._buffer = block if self._buffer is None else np.concatenate([self._buffer, block], axis=1)
        available = (self._buffer.shape[1] - self._before - self._context) // self._down * self._down
        if available <= 0:
            return block[:, :0]
        end = self._before + available
        resampled = self._apply(self._buffer[:, : end + self._context])[:, : available // self._down * self._up]
        before = min(self._context, end)
        self._buffer, self._before = self._buffer[:, end - before :], before
        return resampled

    def rest(self) -> np.ndarray:
        """The last samples (C, N')."""
        return np.zeros((1, 0), np.float32) if self._buffer is None else self._apply(self._buffer)

    def _apply(self, buffer: np.ndarray) -> np.ndarray:
        resampled = self._resample(torch.from_numpy(np.ascontiguousarray(buffer))).numpy()
        return resampled[:, self._before // self._down * self._up :]


def recordings(path: Path) -> list[tuple[Path, Path]]:
    """A recording, or all recordings in a folder at any depth, with their paths relative to that folder.

    In a folder they are recognized by their suffix. Formats that cannot be read are included, so that they are reported. Raises UserError
    for a folder without any.
    """
    if not path.is_dir():
        return [(path, Path(path.name))]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in READ + CONVERTED and file.is_file())
    if not files:
        raise UserError(f"{path}: there is no recording in this folder ({' '.join(READ)})")
    return [(file, file.relative_to(path)) for file in files]
