"""Reads recordings that Kaldi's wav.scp names: a file, or a command if the user allows it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Literal

import numpy as np
import soundfile

from m2asr.data.mp3 import mp3_with_length
from m2asr.data.pipes import run_pipeline
from m2asr.data.truncation import truncated, wav_with_length
from m2asr.errors import UserError
from m2asr.files import open_input

HIGHEST_RATE = 1_000_000  # Hz
DURATION_TOLERANCE = 0.1  # seconds by which a recording may be shorter than utt2dur
MP3_RUN_UP = 32 * 1152  # samples: a frame of MP3 needs bytes of frames before it, and its decoder starts with one frame too late
LOUDEST = 2.0**32  # of samples; files of floats may hold 32-bit integers, but no larger numbers

_MEANINGS = {  # of messages of libsndfile that say something else
    "File does not exist or is not a regular file (possibly a pipe?)": "it has no sound that libsndfile can read",
    "Unspecified internal error": "its sound is damaged, or what lies between or behind it is no sound; convert it again",
}

Channel = int | Literal["mix"] | None  # a channel (from 0), the mean of all; None where there must be one only


def read_audio(
    wav: str, start: float = 0.0, end: float | None = None, allow_pipes: bool = False, channel: Channel = None
) -> tuple[np.ndarray, int]:
    """Samples (N,) float32 in [-1, 1] of one channel, and the sample rate in Hz, between two times in seconds.

    `wav` is the value of a wav.scp line. A command (`cmd |`) runs only with `allow_pipes`, and without a shell. Raises UserError if
    the file is missing, unreadable, shorter than its header says, has several channels of which none is chosen, or samples that are no
    sound.
    """
    with _open(wav, allow_pipes) as file:
        if channel is None and file.channels != 1:
            advice = "set `channel: mix`, or `channel: 0` and so on, in the fbank config"
            raise UserError(f"{wav}: {file.channels} channels; {advice}, or give each segment its channel as the fifth word")
        if isinstance(channel, int) and channel >= file.channels:
            raise UserError(f"{wav}: no channel {channel}; it has {file.channels}, and they are numbered from 0")
        first = min(file.frames, round(start * file.samplerate))
        last = file.frames if end is None else min(file.frames, round(end * file.samplerate))
        run_up = min(first, MP3_RUN_UP) if file.format == "MP3" else 0
        if file.seekable() and first > run_up:
            file.seek(first - run_up)
        else:  # from the beginning, also where a format, such as GSM 6.10, has no other way
            run_up = first
        waves = file.read(max(0, last - first + run_up), dtype="float32", always_2d=True)[run_up:]  # (N, C)
        if len(waves) < last - first:
            raise UserError(f"{wav}: truncated: {len(waves)} of {last - first} samples can be read; fetch the file again")
        wave = waves.mean(axis=1) if channel == "mix" else waves[:, channel or 0]
        sound = np.abs(wave) <= LOUDEST  # false for NaN
        if not sound.all():
            second = (first + int(sound.argmin())) / file.samplerate
            count = len(wave) - int(sound.sum())
            raise UserError(
                f"{wav}: {count} of {len(wave)} samples are not finite, or above 2^32, the first at {second:.2f} s; convert it again"
            )
        return np.ascontiguousarray(wave), file.samplerate


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
    """Open a recording that must be complete. Errors in the block, while it is read, become UserErrors too."""
    with open_audio(wav, allow_pipes) as (file, truncation):
        if truncation:
            raise UserError(f"{wav}: truncated: {truncation}; fetch or convert the file again")
        yield file


@contextmanager
def open_audio(wav: str, allow_pipes: bool = False) -> Iterator[tuple[soundfile.SoundFile, str | None]]:
    """Open a recording of any number of channels; yields it with a message if it is truncated, else with None.

    Errors in the block, while it is read, become UserErrors too.
    """
    piped = _run(wav.rstrip()[:-1], allow_pipes) if wav.rstrip().endswith("|") else None
    try:
        with open_input(wav, "recording") if piped is None else io.BytesIO(piped) as raw, ExitStack() as stack:
            file = stack.enter_context(soundfile.SoundFile(wav if piped is None else io.BytesIO(piped)))
            if file.samplerate > HIGHEST_RATE:
                raise ValueError(f"its header says {file.samplerate} Hz, which is no sample rate")
            truncation = truncated(raw, file.format)
            if mended := _mended(raw, file):
                file = stack.enter_context(soundfile.SoundFile(mended))
            yield file, truncation
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        reason = str(error).split(": ")[-1].rstrip(".")
        raise UserError(f"{wav}: cannot read this recording: {_MEANINGS.get(reason, reason)}") from None


def _mended(raw: BinaryIO, file: soundfile.SoundFile) -> BinaryIO | None:
    """The recording behind a header that tells its length; None where its own header does. Raises ValueError where nothing tells it."""
    if file.format == "MP3":
        return mp3_with_length(raw)
    if file.format == "FLAC" and file.frames > 2**36:  # what libsndfile makes of the length 0
        raise ValueError("a pipe wrote its header, which has no length; decode it to WAV, with `flac -d` for instance")
    return wav_with_length(raw) if file.format.startswith("WAV") and not file.frames else None


def _run(command: str, allow_pipes: bool) -> bytes:
    if not allow_pipes:
        raise UserError(f"`{command.strip()} |`: commands in wav.scp run only with --allow_pipes; read them before you allow them")
    return run_pipeline(command)
