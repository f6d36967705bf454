"""Writes files and folders that appear completely or not at all, and locks them against other processes."""

from __future__ import annotations

import fcntl
import filecmp
import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def open_atomic(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file that takes the name `path` when the block ends without an error.

    The data is fsynced before the rename, so after a crash `path` is either the old file or the new one. Text is UTF-8.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    temporary = _beside(path, "tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def keep_time(file: IO[str], path: Path) -> str:
    """Give a new file, which is about to take the name `path`, the times of the old one if both have the same content.

    Indexes of the folder then stay valid. Returns what happens to `path`: written, replaced, or unchanged.
    """
    if not path.exists():
        return "written"
    file.flush()
    if not filecmp.cmp(file.name, path, shallow=False):
        return "replaced"
    times = path.stat()
    os.utime(file.name, ns=(times.st_atime_ns, times.st_mtime_ns))
    return "unchanged"


@contextmanager
def replace_dir(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces the folder `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    temporary, old = _beside(path, "tmp"), _beside(path, "old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise


def _beside(path: Path, kind: str) -> Path:
    """The hidden path beside `path` for new (`tmp`) or replaced (`old`) data; it names the machine and the process that writes."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{kind}")


def _clear(path: Path) -> None:
    """Remove leftovers of killed processes of this machine beside `path`; put a folder back that such a process had only moved away."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(socket.gethostname())}.*"):
        process, _, kind = leftover.name.removeprefix(f".{path.name}.{socket.gethostname()}.").partition(".")
        if kind not in ("tmp", "old") or not process.isdecimal() or _runs(int(process)):
            continue
        if kind == "old" and not path.exists():
            os.replace(leftover, path)
        elif leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process with this number runs; it may be a later process that has taken the number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


@contextmanager
def lock(path: str | Path, wait: bool = False) -> Iterator[bool]:
    """Hold the lock file `path` during the block, also against other machines that share the disk; yields whether it is held.

    With `wait` the block starts as soon as the lock is free. The lock ends with the process that holds it, even if that is killed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
