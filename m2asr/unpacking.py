"""Bounds what archives unpack to: files whose sizes lie are found before they fill memory or disk."""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

SLACK = 1 << 24  # bytes that an archive may unpack to beyond its growth


class Room:
    """The bytes that may still be unpacked."""

    def __init__(self, size: int) -> None:
        self.size = self.left = size

    def take(self, count: int) -> None:
        """Count unpacked bytes. Raises ValueError if they are too many."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"it unpacks to more than {self.size / 1e6:,.0f} MB, far more than such an archive does")


def check_stored(archive: str | os.PathLike[str] | BinaryIO) -> None:
    """Check a zip archive in which nothing is compressed. Raises ValueError if its members are larger than the archive itself."""
    with zipfile.ZipFile(archive) as members:
        size = members.fp.seek(0, os.SEEK_END)
        if sum(member.file_size for member in members.infolist()) > size:
            raise ValueError(f"its {size} bytes promise more than they hold")
