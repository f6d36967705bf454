"""Reads Kaldi matrices by file and offset; commands and pickles in such files are never run."""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from kaldiio import matio

from m2asr.errors import UserError
from m2asr.files import open_input


def read_matrix(path: str | Path, offset: int = 0, key: str | None = None) -> np.ndarray:
    """The binary matrix (T, F) at `offset` bytes of a file, compressed or not, as float32 or float64 as stored, read-only.

    Raises UserError if the path is a command, or there is no complete matrix at this offset, or not that of `key`, which stands before it.
    """
    path = str(path)
    if "|" in path:
        raise UserError(f"{path}: commands are not run; store the features in a file with stage 1 (fbank)")
    try:
        file = _open_file(path, os.getpid())
        if key is not None:
            before = f"{key} ".encode()
            file.seek(max(0, offset - len(before)))
            if file.read(min(offset, len(before))) != before:
                raise UserError(f"{path}:{offset}: the matrix there is not that of {key}; run stage fbank again")
        file.seek(offset)
        matrix = matio.read_matrix_or_vector(file)  # not read_kaldi, which also loads pickles
        if matrix.ndim != 2:
            raise ValueError("a vector")
    except OSError as error:
        raise UserError(f"{path}:{offset}: cannot read a matrix: {error.strerror}") from None
    except (ValueError, AssertionError, KeyError, MemoryError, OverflowError, struct.error):  # what kaldiio raises, depending on the damage
        raise UserError(f"{path}:{offset}: cannot read a matrix: no complete one is at this offset; run stage fbank again") from None
    return matrix


@lru_cache(maxsize=64)
def _open_file(path: str, process: int) -> BinaryIO:
    """Open a file once per process: a forked process would share the position in it with its parent."""
    return open_input(path, "matrix")  # kept open: a training run reads the same few files millions of times
