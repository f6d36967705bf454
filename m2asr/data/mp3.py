"""Gives an MP3 a header with its length.

Without the header of Xing, libsndfile guesses the length from the first frame, which is wrong unless all frames have the same size.
"""

from __future__ import annotations

import io
import os
import re
from typing import BinaryIO, NamedTuple

import soundfile

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version: MPEG 1, 2, 2.5
_KBITS = {3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)}
_KBITS[2] = _KBITS[0] = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_HEAD = 1 << 16  # bytes in which the first frame lies, after an ID3 tag
_AFTER = 1 << 12  # bytes that tags after the sound may have
_BLOCK = 1 << 20  # samples
_FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]")  # the header of a frame of layer III, of any version
_TAG = re.compile(rb"\xff[\xe0-\xff].{6,38}(?:Xing|Info)\0\0\0([\x01-\x0f])", re.DOTALL)


class Promise(NamedTuple):
    """The bytes that the header of Xing promises, from its own frame on, and those that are there."""

    promised: int
    present: int


def promise(file: BinaryIO) -> Promise | None:
    """Read the promise of the header of Xing; None without this header, or if it lacks the number of frames or of bytes."""
    start = _sound(file)
    file.seek(start)
    head = file.read(_HEAD)
    frame = _FRAME.search(head)
    tag = _TAG.match(head, frame.start()) if frame else None
    if tag is None or tag[1][0] & 3 != 3:
        return None
    promised = int.from_bytes(head[tag.end() + 4 : tag.end() + 8], "big")  # the number of frames comes first
    return Promise(promised, file.seek(0, os.SEEK_END) - start - tag.start())


def mp3_with_length(file: BinaryIO) -> io.BytesIO | None:
    """The same recording behind a header with its length, which is what decodes; None if its own header is good, or it is no layer III.

    Where the sound goes on after the end that its header promises, as in joined files, that header is not good. Raises ValueError if the
    sample rate changes, since what follows would not be read.
    """
    told = promise(file)
    if told is not None and told.present <= told.promised + _AFTER:
        return None
    file.seek(_sound(file))
    sound = file.read()
    frame = _FRAME.search(sound)
    if frame is None:
        return None
    sound = sound[frame.start() :]
    samples = 1152 if sound[1] >> 3 & 3 == 3 else 576  # of a frame
    stream = io.BytesIO(_behind_header(sound, (1 << 31) // samples))
    with soundfile.SoundFile(stream) as decoded:
        length = 0
        while block := len(decoded.read(_BLOCK, dtype="float32", always_2d=True)):
            length += block
        if stream.read(1):
            raise ValueError(f"its sample rate or channels change after {length / decoded.samplerate:.2f} s; convert it again")
    for frames in (-(-length // samples), length // samples):  # a decoder that has lost its way may return a part of a frame
        mended = io.BytesIO(_behind_header(sound, frames))
        with soundfile.SoundFile(mended) as check:
            if check.frames <= length:
                break
    mended.seek(0)
    return mended


def _sound(file: BinaryIO) -> int:
    """The offset of the sound, after ID3 tags."""
    start = 0
    file.seek(0)
    while (head := file.read(10))[:3] == b"ID3" and len(head) == 10:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + size + (10 if head[5] & 16 else 0)
        file.seek(start)
    return start


def _behind_header(sound: bytes, frames: int) -> bytes:
    """The sound behind a frame of its kind that is silent and tells how many frames follow."""
    header = int.from_bytes(sound[:4], "big")
    version, mono = header >> 19 & 3, header >> 6 & 3 == 3
    offset = 4 + (17 if mono else 32) if version == 3 else 4 + (9 if mono else 17)  # of the word Xing
    rate, factor = _RATES[version][header >> 10 & 3], 144000 if version == 3 else 72000
    index = next(index for index in range(1, 15) if factor * _KBITS[version][index] // rate >= offset + 12)
    header = header & ~(0xF << 12 | 1 << 9) | index << 12 | 1 << 16  # this bit rate, no padding, no checksum
    frame = header.to_bytes(4, "big").ljust(offset, b"\0") + b"Xing" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return frame.ljust(factor * _KBITS[version][index] // rate, b"\0") + sound
