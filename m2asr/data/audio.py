"""Recordings as Kaldi's wav.scp names them: a file, or a command where the user allows it."""

from __future__ import annotations

import io
import shlex
import subprocess
from pathlib import Path

import numpy as np
import soundfile

from m2asr.errors import UserError

DURATION_TOLERANCE = 0.1  # seconds that a recording may fall short of utt2dur


def read_audio(wav: str, start: float = 0.0, end: float | None = None, allow_pipes: bool = False) -> tuple[np.ndarray, int]:
    """Samples (N,) float32 in [-1, 1] of one channel, and the sample rate in Hz, between two times in seconds.

    `wav` is the value of a wav.scp line. A command (`cmd |`) runs only with `allow_pipes`, and without a shell. Raises UserError where
    the file is missing, unreadable, shorter than its header says, or has several channels.
    """
    if wav.rstrip().endswith("|"):
        source: io.BytesIO | str = io.BytesIO(_run(wav.rstrip()[:-1], allow_pipes))
    else:
        source = wav
    try:
        with soundfile.SoundFile(source) as file:
            if file.channels != 1:
                raise UserError(f"{wav}: {file.channels} channels; make it one channel first")
            if isinstance(source, str):
                _check_size(Path(source), file)
            first = round(start * file.samplerate)
            last = file.frames if end is None else min(file.frames, round(end * file.samplerate))
            file.seek(first)
            wave = file.read(max(0, last - first), dtype="float32")
            if len(wave) < last - first:
                raise UserError(f"{wav}: truncated: {len(wave)} of {last - first} samples can be read; fetch the file again")
            return wave, file.samplerate
    except (OSError, soundfile.SoundFileError) as error:
        reason = "no such file" if isinstance(source, str) and not Path(source).exists() else str(error).split(": ")[-1].rstrip(".")
        raise UserError(f"{wav}: cannot read this recording: {reason}") from None


def _check_size(path: Path, file: soundfile.SoundFile) -> None:
    """A truncated WAV opens without an error, with fewer samples than its header promises."""
    if file.format not in ("WAV", "WAVEX"):
        return
    with open(path, "rb") as raw:
        header = raw.read(1 << 16)
    place = header.find(b"data")
    if place < 0:
        return
    promised = int.from_bytes(header[place + 4 : place + 8], "little")
    present = path.stat().st_size - place - 8
    if promised not in (0, 0xFFFFFFFF) and present < promised:
        raise UserError(f"{path}: truncated: the header promises {promised} bytes of samples, {present} are there; fetch the file again")


def _run(command: str, allow_pipes: bool) -> bytes:
    if not allow_pipes:
        raise UserError(f"`{command.strip()} |`: commands in wav.scp run only with --allow_pipes; read them before you allow them")
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, check=False)
    except (OSError, ValueError) as error:
        raise UserError(f"`{command.strip()} |`: cannot run this command: {error}") from None
    if done.returncode:
        raise UserError(f"`{command.strip()} |`: exit code {done.returncode}: {' '.join(done.stderr.decode(errors='replace').split())[-200:]}")
    return done.stdout
