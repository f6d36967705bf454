"""Reads the lines of a Kaldi file in order or by utterance number, without keeping them in memory."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from m2asr.data.report import FIX
from m2asr.errors import UserError
from m2asr.files import open_input

BOM = codecs.BOM_UTF8  # byte order mark, with which some programs begin a file
_WIDE = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Lines:
    """The lines of `path`, found by the file `offsets`: an 8-byte integer per utterance, -1 for an utterance without a line."""

    def __init__(self, path: Path, offsets: Path) -> None:
        self.path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as the index: a file replaced meanwhile changes nothing
        self._offsets = open(offsets, "rb", buffering=0)  # noqa: SIM115

    def get(self, i: int) -> tuple[str, str] | None:
        """Id and value of utterance i's line, or None."""
        offset = int.from_bytes(os.pread(self._offsets.fileno(), 8, 8 * i), "little", signed=True)
        if offset < 0:
            return None
        line, size = b"", 256
        while b"\n" not in line:
            block = os.pread(self._file.fileno(), size, offset + len(line))
            if not block:
                break
            line, size = line + block, 4 * size
        utt, value = (*line.partition(b"\n")[0].decode(errors="replace").split(None, 1), "", "")[:2]
        return utt, value.rstrip()


class Row(NamedTuple):
    """A line of a Kaldi file: number from 1, offset in bytes, id, and what follows it."""

    number: int
    offset: int
    id: bytes
    value: bytes


def rows_of(path: Path) -> Iterator[Row]:
    """The lines of a file. Raises UserError if it cannot be read, is not UTF-8, or its ids are not sorted and unique."""
    offset, last = 0, b""
    with open_input(path) as file:
        for number, raw in enumerate(file, 1):
            line = raw.removeprefix(BOM)
            offset += len(raw) - len(line)
            utt, value = (*line.split(None, 1), b"", b"")[:2]
            if not utt:
                raise UserError(f"{path}:{number}: an empty line; {remedy(path)}")
            if utt <= last:
                problem = "has two lines" if utt == last else "is out of order (C locale)"
                raise UserError(f"{path}:{number}: `{shown(utt)}` {problem}; {remedy(path)}")
            if not line.isascii():
                try:
                    line.decode()
                except UnicodeDecodeError:
                    raise UserError(f"{path}:{number}: not UTF-8 text; convert this file to UTF-8") from None
            yield Row(number, offset, utt, value.strip())
            offset, last = offset + len(line), utt


def as_utf8(data: bytes) -> tuple[bytes, str]:
    """The bytes of a file as UTF-8 without byte order marks, and a message if that is not what they are, or else an empty string."""
    for mark, encoding in _WIDE.items():
        if data.startswith(mark):
            return data.decode(encoding, errors="replace").encode(), f"the file is {encoding.upper()}, not UTF-8"
    lines = data.split(b"\n")  # joined files have marks inside
    marked = sum(line.startswith(BOM) for line in lines)
    return (b"\n".join(line.removeprefix(BOM) for line in lines), f"{marked} lines begin with a byte order mark") if marked else (data, "")


def remedy(path: Path) -> str:
    """The advice for a file of a set that contradicts the others, or whose lines are not in order."""
    if path.name in ("feats.scp", "utt2num_frames"):
        return "make the features again (stage fbank)"
    return f"repair with: {FIX} {path.parent}"


def shown(text: bytes) -> str:
    """Bytes of a file as text for a message."""
    return text.decode(errors="replace")
