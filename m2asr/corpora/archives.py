"""Archives of public corpora: fetched, checked and extracted beside each other; every part appears whole or not at all."""

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

from m2asr.corpora.download import BLOCK, Remote, at_once, download, known, remember
from m2asr.errors import UserError
from m2asr.files import lock
from m2asr.progress import visible

COMPLETE = ".complete"  # in a folder that is whole, as Kaldi's download_and_untar.sh writes it


class Archive(NamedTuple):
    """A .tar.gz, and the path in it that is wanted: a folder, with the files beside it, or a file."""

    remote: Remote
    holds: str
    growth: float  # extracted it has at most this many times its size


def archive(name: str, size: int | None, checksum: str, folder: str, holds: str, growth: float) -> Archive:
    """The archive `name` of the address `folder`."""
    return Archive(Remote(name, size, checksum, f"{folder.rstrip('/')}/{name}"), holds, growth)


def fetch_archives(archives: Sequence[Archive], out: Path, remove: bool = False) -> str:
    """Fetch into `out` and extract there what is not there yet; `remove` the archives afterwards. Returns what is there.

    Raises UserError for what `download` refuses, for an archive that is cut, and for a folder that was not extracted by this.
    """
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".download.lock") as held:
        if not held:
            raise UserError(f"--out {out}: another download into it is running; wait for it, or give another folder")
        missing = [one._replace(remote=known(one.remote, out)) for one in archives if not _there(out / one.holds)]
        download([one.remote for one in missing], out, room=sum(int(one.remote.size * one.growth) for one in missing))
        packed = sum(one.remote.size for one in missing)
        with tqdm(total=packed, unit="B", unit_scale=True, desc="extracted", disable=not visible() or not missing) as bar:
            at_once(partial(_extract, out=out, bar=bar), missing)
        files = [out / one.remote.name for one in archives if (out / one.remote.name).is_file()]
        kept = sum(file.stat().st_size for file in files)
        if remove:
            for file in files:
                file.unlink()
    lines = [f"{out}: {len(archives)} archives, {len(missing)} fetched or extracted now"]
    if files:
        lines.append(f"archives {'removed' if remove else 'kept (--remove_archives removes them)'}: {kept / 1e6:.0f} MB")
    return "\n".join([*lines, *(_trusted(one.remote) for one in missing if not one.remote.checksum)])


def _trusted(file: Remote) -> str:
    kept = f"its SHA-256 is kept in {file.name}.sha256 for later downloads"
    return f"{file.name}: no published checksum: size and archive integrity are checked; {kept}"


def _there(target: Path) -> bool:
    """Whether a part is there. Raises UserError for a folder of which it is not known."""
    if target.is_dir() and not (target / COMPLETE).exists():
        way = f"move it away, or if it is whole: touch {target / COMPLETE}"
        raise UserError(f"{target}: it is there, but was not extracted by this command; {way}")
    return target.exists()


def _extract(archive: Archive, stop: threading.Event, out: Path, bar: tqdm) -> None:
    """Extract one archive into a temporary folder, and put what it holds in its place."""
    path, target = out / archive.remote.name, out / archive.holds
    folder = out / f".{archive.remote.name}.extracting"

    def read(count: int) -> None:
        if stop.is_set():
            raise CancelledError
        bar.update(count)

    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        with open(path, "rb") as packed:
            _unpack(CallbackIOWrapper(read, packed), folder)
        if not (folder / archive.holds).exists():
            raise ValueError(f"there is no {archive.holds} in it")
        if not archive.remote.checksum:
            remember(archive.remote, out)
        _move(folder / archive.holds, target)
    except (EOFError, ValueError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise UserError(f"{path}: not a whole archive ({error}); remove it and run the same command again") from None
    except OSError as error:
        error.filename = error.filename or str(folder)  # a full disk does not name the file
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(packed: BinaryIO, folder: Path) -> None:
    """Write the files of a .tar.gz, and of those in it (AISHELL-1 has one per speaker), as they come.

    Links are left out and no rights are taken over, so nothing gets outside of `folder` without the filters of tarfile, which Debian 12's
    Python lacks. Raises ValueError for a name that leads outside.
    """
    with gzip.open(packed) as unpacked:
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
                    _unpack(content, path.parent)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "wb") as file:
                    shutil.copyfileobj(content, file, BLOCK)
        while unpacked.read(BLOCK):
            pass  # the checksum of gzip is at its end


def _move(found: Path, target: Path) -> None:
    """Put a folder in its place, after the files beside it; or a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if found.is_dir():
        (found / COMPLETE).touch()
        os.sync()  # thousands of files, which must be on the disk before the folder has its name
    for path in found.parent.iterdir():
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            os.replace(path, target.parent / path.name)
    if found.is_dir():
        os.replace(found, target)
