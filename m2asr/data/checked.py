"""Files that end with a checksum of their name and content, so that damage to them is found."""

from __future__ import annotations

import hashlib
import os
from array import array
from pathlib import Path

from m2asr.files import open_atomic

SIZE = 16  # bytes of a checksum
_BLOCK = 1 << 16


def write_checked(path: Path, content: bytes | array) -> None:
    """Write a file and its checksum."""
    with open_atomic(path, "wb") as file:
        file.write(content)
        digest = _digest(path)
        digest.update(content)
        file.write(digest.digest())


def is_whole(path: Path, size: int | None = None) -> bool:
    """Whether the content of a file is what was written: `size` bytes, if given, without the checksum."""
    try:
        with open(path, "rb") as file:
            left = os.fstat(file.fileno()).st_size - SIZE
            if left < 0 or (size is not None and left != size):
                return False
            digest = _digest(path)
            while block := file.read(min(left, _BLOCK)):
                digest.update(block)
                left -= len(block)
            return file.read() == digest.digest()
    except OSError:
        return False


def _digest(path: Path) -> hashlib.blake2b:
    return hashlib.blake2b(path.name.encode(), digest_size=SIZE)


def read_checked(path: Path) -> bytes:
    """The content of a file of write_checked."""
    return path.read_bytes()[:-SIZE]
