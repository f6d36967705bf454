"""Reads files of Debian packages without dpkg: an ar archive with a compressed tar archive in it (deb(5))."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm.utils import CallbackIOWrapper

from m2asr.errors import UserError
from m2asr.unpacking import SLACK, Room

MAGIC = b"!<arch>\n"
GROWTH = 50  # a package unpacks to at most this many times its size
LARGEST = 1 << 26  # bytes of a text in a package
HEADER = 60  # bytes before every member of an ar archive: name 16, date 12, owner 6, group 6, mode 8, size 10, end 2


def package_files(deb: Path, select: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name (without a leading /) and content of the files of a package whose names `select` accepts, in archive order; no links.

    Raises UserError if it is no package, or is truncated.
    """
    try:
        with open(deb, "rb") as file:
            _seek_member(file, b"data.tar.xz")
            room = Room(GROWTH * deb.stat().st_size + SLACK)
            with lzma.open(file) as unpacked, tarfile.open(fileobj=CallbackIOWrapper(room.take, unpacked), mode="r|") as tar:
                for member in tar:
                    name = member.name.removeprefix("./")
                    if member.isfile() and select(name):
                        yield name, tar.extractfile(member).read()
    except FileNotFoundError:
        raise UserError(f"{deb}: not found; fetch it with m2asr.bin.download") from None
    except (EOFError, ValueError, lzma.LZMAError, tarfile.TarError) as error:
        raise UserError(f"{deb}: not a complete Debian package ({error}); remove it and fetch it again") from None


def file_text(deb: Path, name: str, data: bytes) -> str:
    """The text of a file of a package, UTF-8, unpacked if its name ends in .gz. Raises UserError naming both if it cannot be read."""
    try:
        return (_unzipped(data) if name.endswith(".gz") else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{deb}: cannot read {name} in it: {error}; remove the package and fetch it again") from None


def _unzipped(data: bytes) -> bytes:
    """What gzip has packed. Raises ValueError if it is too much for a text."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"it unpacks to more than {LARGEST >> 20} MB")
    return text


def _seek_member(file: BinaryIO, member: bytes) -> None:
    """Move to the beginning of a member of an ar archive. Raises ValueError if there is none."""
    if file.read(len(MAGIC)) != MAGIC:
        raise ValueError("it does not begin as an ar archive")
    while len(head := file.read(HEADER)) == HEADER:
        if head[:16].rstrip(b" /") == member:
            return
        if not head[48:58].strip().isdigit():  # a negative one would lead back, and to no end
            raise ValueError("a member without a size")
        size = int(head[48:58])
        file.seek(size + size % 2, 1)  # members begin at even offsets
    raise ValueError(f"there is no {member.decode()} in it")
