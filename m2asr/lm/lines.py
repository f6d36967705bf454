"""Reads lines of plain or gzipped files."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from m2asr.errors import UserError
from m2asr.files import open_input


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a file, which gzip may have packed, without a byte order mark.

    Raises UserError if it cannot be read or unpacked, also during the block.
    """
    try:
        with open_input(path) as file:
            packed = file.peek(2)[:2] == b"\x1f\x8b"
            lines = iter(gzip.GzipFile(fileobj=file) if packed else file)
            yield chain((line.removeprefix(codecs.BOM_UTF8) for line in islice(lines, 1)), lines)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{path}: the .gz is truncated or damaged; fetch or write it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None
