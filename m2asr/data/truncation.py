"""Finds truncated recordings: libsndfile reads their samples up to the end and raises no error."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

PAGE = 27 + 255 + 255 * 255  # bytes of the largest Ogg page
UNKNOWN = 0x7FFFF000  # bytes; programs that write to a pipe promise this many or more


def truncated(file: BinaryIO, kind: str) -> str | None:
    """A message if a recording has lost its end, otherwise None. `kind` is soundfile's name of the format.

    WAV, SPHERE and MP3 with a Xing header promise a number of bytes, the last page of an Ogg stream has a flag (RFC 3533). FLAC needs no
    check here, as its decoder fails.
    """
    check = {"WAV": _wav, "WAVEX": _wav, "NIST": _sphere, "OGG": _ogg, "MP3": _mp3}.get(kind)
    if check is None:
        return None
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return check(file, size)


def _wav(file: BinaryIO, size: int) -> str | None:
    head = file.read(12)
    while head[:4] == b"RIFF" and len(chunk := file.read(8)) == 8:
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return _compare(length if length < UNKNOWN else 0, size - file.tell())
        file.seek(length + length % 2, os.SEEK_CUR)
    return None


def _sphere(file: BinaryIO, size: int) -> str | None:
    head = file.read(1024)
    fields = {name: int(value) for name, value in re.findall(rb"(\w+) -i (\d+)", head)}
    promised = fields.get(b"sample_count", 0) * fields.get(b"sample_n_bytes", 0) * fields.get(b"channel_count", 1)
    return _compare(promised, size - int(head[8:16]))


def _mp3(file: BinaryIO, size: int) -> str | None:
    head = file.read(1 << 16)
    tag = re.search(rb"\xff[\xe0-\xff].{6,38}(?:Xing|Info)\0\0\0([\x01-\x0f])", head, re.DOTALL)
    if tag is None or not tag[1][0] & 2:
        return None
    offset = tag.end() + 4 * (tag[1][0] & 1)  # the number of frames comes first
    return _compare(int.from_bytes(head[offset : offset + 4], "big"), size - tag.start())


def _ogg(file: BinaryIO, size: int) -> str | None:
    file.seek(max(0, size - PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "its last page is truncated"
    return None if page[5] & 4 else "its last page does not end the stream"


def _compare(promised: int, present: int) -> str | None:
    return f"its header promises {promised} bytes of sound, {present} are there" if present < promised else None
