"""Recordings as Kaldi's wav.scp names them: a file, or a command where the user allows it."""

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

DURATION_TOLERANCE = 0.1  # seconds that a recording may fall short of utt2dur
_FILTER_WIDTH = 32  # zero crossings of the low-pass filter before samples are left out


def read_audio(wav: str, start: float = 0.0, end: float | None = None, allow_pipes: bool = False) -> tuple[np.ndarray, int]:
    """Samples (N,) float32 in [-1, 1] of one channel, and the sample rate in Hz, between two times in seconds.

    `wav` is the value of a wav.scp line. A command (`cmd |`) runs only with `allow_pipes`, and without a shell. Raises UserError where
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


def at_rate(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples (N,) at `wanted` Hz; what a higher rate holds above half of that is filtered out first, so that it does not fold back.

    Raises UserError for a lower rate: it lacks the upper part of the spectrum that the other recordings have.
    """
    if rate == wanted:
        return wave
    if rate < wanted:
        raise UserError(f"{rate} Hz, the features want {wanted} Hz, and a lower rate cannot be raised; set sample_rate in the fbank config")
    return resampler(rate, wanted)(torch.from_numpy(wave)).numpy()


def at_speed(wave: np.ndarray, rate: int, speed: float) -> np.ndarray:
    """Samples (N,) at `rate` Hz, played at a speed: 1.1 is a tenth faster and higher (Ko et al. 2015)."""
    return wave if speed == 1 else _player(rate, speed)(torch.from_numpy(wave))[0].numpy()


@cache
def _player(rate: int, speed: float) -> torch.nn.Module:
    from torchaudio.transforms import Speed  # imported late, as few trainings need it

    return Speed(rate, speed)


@cache
def resampler(rate: int, wanted: int) -> torch.nn.Module:
    """A low-pass filter that turns samples (..., N) at one rate into samples at another."""
    from torchaudio.transforms import Resample  # imported late, as few corpora need it

    return Resample(rate, wanted, lowpass_filter_width=_FILTER_WIDTH)


def audio_seconds(wav: str, allow_pipes: bool = False) -> float:
    """Length of a recording by its header; of FLAC, whose header promises no bytes, the last sample is decoded too.

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
    """The recording, found to be whole and of one channel; what goes wrong while it is read becomes a UserError too."""
    with open_audio(wav, allow_pipes) as (file, what):
        if file.channels != 1:
            raise UserError(f"{wav}: {file.channels} channels; make it one channel first")
        if what:
            raise UserError(f"{wav}: truncated: {what}; fetch the file again")
        yield file


@contextmanager
def open_audio(wav: str, allow_pipes: bool = False) -> Iterator[tuple[soundfile.SoundFile, str | None]]:
    """A recording of any number of channels, and what tells that it has lost its end, or None.

    What goes wrong in the block, while it is read, becomes a UserError too.
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
        done = subprocess.run(shlex.split(command), capture_output=True, check=False)
    except (OSError, ValueError) as error:
        raise UserError(f"`{command.strip()} |`: cannot run this command: {error}") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise UserError(f"`{command.strip()} |`: exit code {done.returncode}: {said[-200:]}")
    return done.stdout
