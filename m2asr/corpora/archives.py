"""Fetches, checks and extracts archives of public corpora; every extracted folder or file appears completely or not at all."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from m2asr.corpora.download import BLOCK, Remote, download, record_checksum, resolve, run_parallel
from m2asr.errors import UserError
from m2asr.files import lock
from m2asr.progress import visible
from m2asr.unpacking import SLACK, Room

COMPLETE = ".complete"  # marks a complete folder, as Kaldi's download_and_untar.sh does


class Archive(NamedTuple):
    """A .tar.gz, and the member to extract from it: a folder, with the files beside it, or a file."""

    remote: Remote
    member: str
    growth: float  # the extracted files have at most this many times its size


def archive(name: str, size: int | None, checksum: str, folder: str, member: str, growth: float) -> Archive:
    """The archive `name` at the address `folder`."""
    return Archive(Remote(name, size, checksum, f"{folder.rstrip('/')}/{name}"), member, growth)


def fetch_archives(archives: Sequence[Archive], out: Path, remove: bool = False) -> str:
    """Fetch and extract archives into `out` that are not there yet; `remove` deletes the archives afterwards. Returns a report.

    Raises the UserErrors of `download`, and UserError for a truncated archive, and for a folder that another program has extracted.
    """
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".download.lock") as held:
        if not held:
            raise UserError(f"--out {out}: another download into it is running; wait for it, or give another folder")
        missing = [item._replace(remote=resolve(item.remote, out)) for item in archives if not _is_present(out / item.member)]
        download([item.remote for item in missing], out, room=sum(int(item.remote.size * item.growth) for item in missing))
        total = sum(item.remote.size for item in missing)
        with tqdm(total=total, unit="B", unit_scale=True, desc="extracted", disable=not visible() or not missing) as bar:
            run_parallel(partial(_extract, out=out, bar=bar), missing)
        files = [out / item.remote.name for item in archives if (out / item.remote.name).is_file()]
        size = sum(file.stat().st_size for file in files)
        if remove:
            for file in files:
                file.unlink()
    lines = [f"{out}: {len(archives)} archives, {len(missing)} fetched or extracted now"]
    if files:
        lines.append(f"archives {'removed' if remove else 'kept (--remove_archives removes them)'}: {size / 1e6:.0f} MB")
    return "\n".join([*lines, *(_checksum_note(item.remote) for item in missing if not item.remote.checksum)])


def _checksum_note(file: Remote) -> str:
    note = f"its SHA-256 is kept in {file.name}.sha256 for later downloads"
    return f"{file.name}: no published checksum: size and archive integrity are checked; {note}"


def _is_present(target: Path) -> bool:
    """Whether a folder or file was extracted. Raises UserError for a folder without the mark of complete ones."""
    if target.is_dir() and not (target / COMPLETE).exists():
        remedy = f"move it away, or if it is complete: touch {target / COMPLETE}"
        raise UserError(f"{target}: it exists, but this command has not extracted it; {remedy}")
    return target.exists()


def _extract(archive: Archive, stop: threading.Event, out: Path, bar: tqdm) -> None:
    """Extract an archive into a temporary folder, and move its member to `out`."""
    path, target = out / archive.remote.name, out / archive.member
    folder = out / f".{archive.remote.name}.extracting"

    def read(count: int) -> None:
        if stop.is_set():
            raise CancelledError
        bar.update(count)

    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        room = Room(int(archive.remote.size * archive.growth) + SLACK)
        with open(path, "rb") as packed:
            _unpack(CallbackIOWrapper(read, packed), folder, room)
        if not (folder / archive.member).exists():
            raise ValueError(f"there is no {archive.member} in it")
        if not archive.remote.checksum:
            record_checksum(archive.remote, out)
        _move(folder / archive.member, target)
    except (EOFError, ValueError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise UserError(f"{path}: not a complete archive ({error}); remove it and run the same command again") from None
    except OSError as error:
        error.filename = error.filename or str(folder)  # a full disk does not name the file
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(packed: BinaryIO, folder: Path, room: Room) -> None:
    """Write the files of a .tar.gz, and of those in it (AISHELL-1 has one per speaker), as they come.

    Links are left out and no rights are taken over, so nothing gets outside of `folder` without the filters of tarfile, which Debian 12's
    Python lacks. Raises ValueError for a name that leads outside, and where more is unpacked than there is `room`.
    """
    with gzip.open(packed) as unzipped:
        unpacked = CallbackIOWrapper(room.take, unzipped)
        with tarfile.open(fileobj=unpacked, mode="r|", bufsize=BLOCK) as tar:
            for member in tar:
                tar.members.clear()  # it would remember millions
                if not member.isfile():
                    continue
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise ValueError(f"{name} leads outside")
                path, content = folder / name, tar.extractfile(member)
                if name.name.endswith(".tar.gz"):
                    _unpack(content, path.parent, room)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "wb") as file:
                    shutil.copyfileobj(content, file, BLOCK)
        while unpacked.read(BLOCK):
            pass  # the checksum of gzip is at its end


def _move(source: Path, target: Path) -> None:
    """Move a folder to its target, after the files beside it; or move a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        (source / COMPLETE).touch()
        os.sync()  # thousands of files, which must be on the disk before the folder has its name
    for path in source.parent.iterdir():
        if path.is_file() and not (target.parent / path.name).exists():  # a README of others stays
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            os.replace(path, target.parent / path.name)
    if source.is_dir():
        os.replace(source, target)
