"""Finds recordings of which libsndfile would read a part and raise no error, such as truncated ones."""

from __future__ import annotations

import io
import os
import re
from typing import BinaryIO, Literal

from m2asr.data.mp3 import promise

PAGE = 27 + 255 + 255 * 255  # bytes of the largest Ogg page
UNKNOWN = 0x7FFFF000  # bytes; programs that write to a pipe promise this many or more
STRAY = 1 << 16  # bytes behind the sound that may be anything


def truncated(file: BinaryIO, kind: str) -> str | None:
    """A message if a recording has lost its end, or if a reader would stop before it; otherwise None.

    `kind` is soundfile's name of the format. Most formats and MP3 with a header of Xing promise a number of bytes, the last page of an Ogg
    stream has a flag (RFC 3533). FLAC needs no check here, as its decoder fails.
    """
    checks = {"WAV": _wav, "WAVEX": _wav, "NIST": _sphere, "OGG": _ogg, "MP3": _mp3, "AU": _au, "AIFF": _aiff, "RF64": _rf64, "W64": _w64}
    if kind not in checks:
        return None
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return checks[kind](file, size)


def wav_with_length(file: BinaryIO) -> io.BytesIO | None:
    """A WAV whose header says 0 bytes of sound, as some programs write to a pipe, with the bytes that are there; None for another."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if _data_length(file) != 0 or file.tell() == size:
        return None
    start = file.tell()
    file.seek(0)
    content = bytearray(file.read())
    order = _order(content)
    content[4:8] = (size - 8).to_bytes(4, order)
    content[start - 4 : start] = (size - start).to_bytes(4, order)
    return io.BytesIO(bytes(content))


def _wav(file: BinaryIO, size: int) -> str | None:
    length = _data_length(file)
    if not length or length >= UNKNOWN:
        return None
    return _compare(length, size - file.tell()) or _stray(file, size, length)


def _stray(file: BinaryIO, size: int, length: int) -> str | None:
    """A message if the bytes behind the sound of a WAV are no chunks: above 4 GB its header promises too little."""
    begin = file.tell()
    file.seek(0)
    order = _order(file.read(4))
    offset = behind = begin + length + length % 2
    while offset + STRAY < size:
        file.seek(offset)
        chunk = file.read(STRAY)
        offset += 8 + int.from_bytes(chunk[4:8], order) + chunk[4 if order == "little" else 7] % 2
        if offset > size or not re.match(rb"[ -~]{4}", chunk):
            return None if not chunk.strip(b"\0") else _too_few(length, size - behind)
    return None


def _data_length(file: BinaryIO) -> int | None:
    """The bytes of sound by the header of a WAV, which is read up to them; None without any."""
    head = file.read(12)
    while head[:4] in (b"RIFF", b"RIFX") and len(chunk := file.read(8)) == 8:
        length = int.from_bytes(chunk[4:], _order(head))
        if chunk[:4] == b"data":
            return length
        file.seek(length + length % 2, os.SEEK_CUR)
    return None


def _order(head: bytes) -> Literal["big", "little"]:
    return "big" if head[:4] == b"RIFX" else "little"


def _rf64(file: BinaryIO, size: int) -> str | None:
    head, promised = file.read(12), 0
    while head[:4] == b"RF64" and len(chunk := file.read(8)) == 8:
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return _compare(promised if length >= UNKNOWN else length, size - file.tell())
        content = file.read(length + length % 2)
        if chunk[:4] == b"ds64":
            promised = int.from_bytes(content[8:16], "little")
    return None


def _w64(file: BinaryIO, size: int) -> str | None:
    file.seek(40)  # riff, its size, wave
    while len(chunk := file.read(24)) == 24:
        length = int.from_bytes(chunk[16:], "little") - 24
        if not 0 <= length <= size and chunk[:4] != b"data":  # leads back, or out of the file
            return None
        if chunk[:4] == b"data":
            return _compare(length, size - file.tell())
        file.seek(length + -length % 8, os.SEEK_CUR)
    return None


def _aiff(file: BinaryIO, size: int) -> str | None:
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        length = int.from_bytes(chunk[4:], "big")
        if chunk[:4] == b"SSND":
            return _compare(length, size - file.tell())
        file.seek(length + length % 2, os.SEEK_CUR)
    return None


def _au(file: BinaryIO, size: int) -> str | None:
    head = file.read(12)
    order = "little" if head[:4] == b"dns." else "big"
    start, length = int.from_bytes(head[4:8], order), int.from_bytes(head[8:12], order)
    if length >= UNKNOWN:
        return None
    return _compare(length, size - start) or (_too_few(length, size - start - length) if length and size - start - length > STRAY else None)


def _sphere(file: BinaryIO, size: int) -> str | None:
    head = file.read(1024)
    fields = {name: int(value) for name, value in re.findall(rb"(\w+) -i (\d+)", head)}
    promised = fields.get(b"sample_count", 0) * fields.get(b"sample_n_bytes", 0) * fields.get(b"channel_count", 1)
    return _compare(promised, size - int(head[8:16]))


def _mp3(file: BinaryIO, size: int) -> str | None:
    told = promise(file)
    return None if told is None else _compare(*told)


def _ogg(file: BinaryIO, size: int) -> str | None:
    if _chained(file, size):
        return "it holds several streams, one behind the other, of which only the first can be read"
    file.seek(max(0, size - PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "its last page is truncated"
    return None if page[5] & 4 else "its last page does not end the stream"


def _chained(file: BinaryIO, size: int) -> bool:
    """Whether a page begins a stream after pages of sound."""
    offset = begun = 0
    while offset + 27 <= size:
        file.seek(offset)
        head = file.read(27 + 255)
        if head[:4] != b"OggS":
            return False
        first = bool(head[5] & 2)
        if first and begun:
            return True
        begun |= not first
        offset += 27 + head[26] + sum(head[27 : 27 + head[26]])
    return False


def _compare(promised: int, present: int) -> str | None:
    return f"its header promises {promised} bytes of sound, {present} are there" if present < promised else None


def _too_few(promised: int, behind: int) -> str:
    return f"its header promises {promised} bytes of sound, and {behind} bytes behind them would not be read"
