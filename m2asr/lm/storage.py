"""Stores named arrays in one file, which processes map into memory and share."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from m2asr.errors import UserError
from m2asr.files import open_atomic

_MAGIC = b"m2asr n-gram 1\n\0"  # with the version of the format
_ALIGNMENT = 64  # bytes
_LENGTH = struct.Struct("<Q")  # of the JSON that describes the arrays, after the magic


def write_arrays(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `facts` (anything JSON holds) and arrays; the file appears completely or not at all."""
    described, offset = {}, 0  # offsets count from the end of the header
    for name, array in arrays.items():
        described[name] = {"dtype": array.dtype.newbyteorder("<").str, "shape": array.shape, "offset": offset}
        offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({"facts": facts, "arrays": described, "bytes": offset}).encode()
    header += b" " * (-(len(_MAGIC) + _LENGTH.size + len(header)) % _ALIGNMENT)
    with open_atomic(path, "wb") as file:
        file.write(_MAGIC + _LENGTH.pack(len(header)) + header)
        for name, array in arrays.items():
            file.write(np.ascontiguousarray(array, described[name]["dtype"]).data)
            file.write(b"\0" * (-array.nbytes % _ALIGNMENT))


def map_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts and the arrays of a file, mapped into memory, read-only. Raises UserError if it is damaged or another kind of file."""
    advice = "write it again with python -m m2asr.bin.lm"
    try:
        with open(path, "rb") as file:
            head = file.read(len(_MAGIC) + _LENGTH.size)
            if head[: len(_MAGIC)] != _MAGIC:
                raise UserError(f"{path}: no n-gram model in the compact form of this version; {advice}")
            length = _LENGTH.unpack_from(head + b"\0" * 8, len(_MAGIC))[0]
            header = json.loads(file.read(min(length, 1 << 20)))
        content = np.memmap(path, np.uint8, "r")
        body = np.asarray(content)[len(head) + length :]
        if len(body) != header["bytes"]:
            raise UserError(f"{path}: the file holds {len(body)} of {header['bytes']} bytes; {advice}")
        arrays = {}
        for name, entry in header["arrays"].items():
            size = int(np.prod(entry["shape"])) * np.dtype(entry["dtype"]).itemsize
            arrays[name] = body[entry["offset"] : entry["offset"] + size].view(entry["dtype"]).reshape(entry["shape"])
        return header["facts"], arrays
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: a damaged n-gram model ({error}); {advice}") from None
