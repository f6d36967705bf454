"""Kaldi matrices by file and offset; neither commands nor pickles in such files are ever run."""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from kaldiio import matio

from m2asr.errors import UserError


def read_matrix(path: str | Path, offset: int = 0) -> np.ndarray:
    """The binary matrix (T, F) at `offset` bytes of a file, compressed or not, as float32 or float64 as stored, read-only.

    Raises UserError where the path is a command, or no whole matrix stands there.
    """
    path = str(path)
    if "|" in path:
        raise UserError(f"{path}: commands are not run; store the features in a file with stage 1 (fbank)")
    try:
        file = _opened(path, os.getpid())
        file.seek(offset)
        matrix = matio.read_matrix_or_vector(file)  # not read_kaldi, which also loads pickles
        if matrix.ndim != 2:
            raise ValueError("a vector")
    except OSError as error:
        raise UserError(f"{path}:{offset}: cannot read a matrix: {error.strerror}") from None
    except (ValueError, AssertionError, KeyError, struct.error):  # what kaldiio raises, depending on the damage
        raise UserError(f"{path}:{offset}: cannot read a matrix: there is none at this place, or it is cut off") from None
    return matrix


@lru_cache(maxsize=64)
def _opened(path: str, process: int) -> BinaryIO:
    """An open file per process: a forked one would share the position with its parent."""
    return open(path, "rb")  # noqa: SIM115 - kept open: a training run reads the same few files millions of times
