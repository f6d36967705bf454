"""Lines of a Kaldi file by utterance number, read one at a time; nothing is kept in memory."""

from __future__ import annotations

import os
from pathlib import Path


class Lines:
    """The lines of `path` whose places are in `offsets`, a file of 8-byte integers, one per utterance, -1 for none."""

    def __init__(self, path: Path, offsets: Path) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as the index: a file replaced meanwhile changes nothing
        self._offsets = open(offsets, "rb", buffering=0)  # noqa: SIM115

    def get(self, i: int) -> tuple[str, str] | None:
        """Id and value of utterance i's line, or None."""
        offset = int.from_bytes(os.pread(self._offsets.fileno(), 8, 8 * i), "little", signed=True)
        if offset < 0:
            return None
        line, size = b"", 256
        while b"\n" not in line:
            more = os.pread(self._file.fileno(), size, offset + len(line))
            if not more:
                break
            line, size = line + more, 4 * size
        utt, *value = line.partition(b"\n")[0].decode().split(None, 1)
        return utt, value[0].rstrip() if value else ""
