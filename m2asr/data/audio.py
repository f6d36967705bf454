"""Reads recordings that Kaldi's wav.scp names: a file, or a command if the user allows it."""

from __future__ import annotations

import io
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import soundfile
import torch

from m2asr.data.truncation import truncated
from m2asr.errors import UserError

DURATION_TOLERANCE = 0.1  # seconds by which a recording may be shorter than utt2dur
_FILTER_WIDTH = 32  # zero crossings of the low-pass filter of the resampler


def read_audio(wav: str, start: float = 0.0, end: float | None = None, allow_pipes: bool = False) -> tuple[np.ndarray, int]:
    """Samples (N,) float32 in [-1, 1] of one channel, and the sample rate in Hz, between two times in seconds.

    `wav` is the value of a wav.scp line. A command (`cmd |`) runs only with `allow_pipes`, and without a shell. Raises UserError if
    the file is missing, unreadable, shorter than its header says, or has several channels.
    """
    with _open(wav, allow_pipes) as file:
        first = min(file.frames, round(start * file.samplerate))
        last = file.frames if end is None else min(file.frames, round(end * file.samplerate))
        file.seek(first)
        wave = file.read(max(0, last - first), dtype="float32")
        if len(wave) < last - first:
            raise UserError(f"{wav}: truncated: {len(wave)} of {last - first} samples can be read; fetch the file again")
        return wave, file.samplerate


def at_rate(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Resample (N,) samples to `target` Hz, with a low-pass filter against aliasing.

    Raises UserError for a rate below it: such recordings lack the upper part of the spectrum that the others have.
    """
    if rate == target:
        return wave
    if rate < target:
        raise UserError(f"{rate} Hz is below the {target} Hz of the features, and it cannot be raised; set sample_rate in the fbank config")
    return resampler(rate, target)(torch.from_numpy(wave)).numpy()


def at_speed(wave: np.ndarray, rate: int, speed: float) -> np.ndarray:
    """Play samples (N,) at `rate` Hz at another speed: 1.1 makes them a tenth faster and higher (Ko et al. 2015)."""
    return wave if speed == 1 else _player(rate, speed)(torch.from_numpy(wave))[0].numpy()


@cache
def _player(rate: int, speed: float) -> torch.nn.Module:
    from torchaudio.transforms import Speed  # imported late, as few trainings need it

    return Speed(rate, speed)


@cache
def resampler(rate: int, target: int) -> torch.nn.Module:
    """A low-pass filter that turns samples (..., N) at one rate into samples at another."""
    from torchaudio.transforms import Resample  # imported late, as few corpora need it

    return Resample(rate, target, lowpass_filter_width=_FILTER_WIDTH)


def audio_seconds(wav: str, allow_pipes: bool = False) -> float:
    """The length of a recording by its header. The header of FLAC promises no bytes, so its last sample is decoded too.

    Raises UserError as read_audio does.
    """
    with _open(wav, allow_pipes) as file:
        if file.format == "FLAC" and file.frames:
            try:
                file.seek(file.frames - 1)
                file.read(1)
            except soundfile.SoundFileError:
                raise UserError(f"{wav}: truncated: the last of its {file.frames} samples cannot be read; fetch the file again") from None
        return file.frames / file.samplerate


@contextmanager
def _open(wav: str, allow_pipes: bool) -> Iterator[soundfile.SoundFile]:
    """Open a recording that must be complete and have one channel. Errors in the block, while it is read, become UserErrors too."""
    with open_audio(wav, allow_pipes) as (file, truncation):
        if file.channels != 1:
            raise UserError(f"{wav}: {file.channels} channels; make it one channel first")
        if truncation:
            raise UserError(f"{wav}: truncated: {truncation}; fetch the file again")
        yield file


@contextmanager
def open_audio(wav: str, allow_pipes: bool = False) -> Iterator[tuple[soundfile.SoundFile, str | None]]:
    """Open a recording of any number of channels; yields it with a message if it is truncated, else with None.

    Errors in the block, while it is read, become UserErrors too.
    """
    piped = _run(wav.rstrip()[:-1], allow_pipes) if wav.rstrip().endswith("|") else None
    try:
        with (
            open(wav, "rb") if piped is None else io.BytesIO(piped) as raw,
            soundfile.SoundFile(wav if piped is None else io.BytesIO(piped)) as file,
        ):
            yield file, truncated(raw, file.format)
    except FileNotFoundError:
        raise UserError(f"{wav}: cannot read this recording: no such file") from None
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        raise UserError(f"{wav}: cannot read this recording: {str(error).split(': ')[-1].rstrip('.')}") from None


def _run(command: str, allow_pipes: bool) -> bytes:
    if not allow_pipes:
        raise UserError(f"`{command.strip()} |`: commands in wav.scp run only with --allow_pipes; read them before you allow them")
    try:
        process = subprocess.run(shlex.split(command), capture_output=True, check=False)
    except (OSError, ValueError) as error:
        raise UserError(f"`{command.strip()} |`: cannot run this command: {error}") from None
    if process.returncode:
        output = " ".join(process.stderr.decode(errors="replace").split())
        raise UserError(f"`{command.strip()} |`: exit code {process.returncode}: {output[-200:]}")
    return process.stdout
