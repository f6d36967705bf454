"""Writes files and folders that appear completely or not at all, and locks them against other processes."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import filecmp
import glob
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from m2asr.errors import UserError
from m2asr.ownership import Kind, check_replaceable, mark, read_mark

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of <fcntl.h> and <linux/fs.h>


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


def open_input(path: str | Path, kind: str = "") -> IO[bytes]:
    """Open a file that is given by the user, and will not wait for anybody to write into it.

    `kind` names it in messages. Raises UserError where it is missing, a folder, a pipe or a device, or cannot be read.
    """
    failed = f"{path}: cannot read" + (f" this {kind}" if kind else "")
    try:
        mode = os.stat(path).st_mode
        substituted = stat.S_ISFIFO(mode) and str(path).startswith(("/dev/", "/proc/"))  # of a shell: <(command)
        if not stat.S_ISREG(mode) and not substituted:
            what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise UserError(f"{failed}: it is {what}; give a file")
        return open(path, "rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise UserError(f"{failed}: {getattr(error, 'strerror', None) or error}") from None


def read_text(path: str | Path, kind: str = "file", longest: int | None = None) -> str:
    """The text of a file that is given by the user. Raises UserError as `open_input`, and where it is too long or is not UTF-8."""
    with open_input(path, kind) as file:
        try:
            data = file.read() if longest is None else file.read(4 * longest + 1)
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise UserError(f"{path}: cannot read this {kind}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UserError(f"{path}: cannot read this {kind}: it is not UTF-8 text; convert the file") from None
    if longest is not None and len(text) > longest:
        raise UserError(f"{path}: this {kind} is longer than {longest} characters; is it the right file?")
    return text


@contextmanager
def replace_dir(path: str | Path, kind: Kind, repair: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces the folder `path` when the block ends without an error.

    At every moment `path` is the old folder or the new one. A link stays, and the folder where it points is replaced. Raises UserError
    unless `path` may be replaced by a folder of this kind. With `repair` it is replaced in any case, by its own mended content; what others
    have put into the folder counts as theirs afterwards too.
    """
    path = Path(path)
    _clear(path)
    if not repair:
        check_replaceable(path, kind)
    path = _target(path)
    with temporary_dir(path) as temporary:
        yield temporary
        held, written = read_mark(path)
        if not repair:
            mark(temporary, kind)
        elif held is not None:
            mark(temporary, kind, without=set(os.listdir(path)) - written)
        _take_over(temporary, path)


@contextmanager
def temporary_dir(path: str | Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside `path`, which is removed when the block ends, or by the next call where a process was killed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    temporary = _beside(path, "tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover(path: str | Path) -> Path:
    """Put a folder back that a killed process had moved away to replace it; returns its path."""
    path = Path(path)
    if path.name and not path.exists():
        _clear(_target(path))
    return path


def _target(path: Path) -> Path:
    """Where a link points, or the path itself; also where links lead in a circle, which Path.resolve() refuses."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _take_over(new: Path, path: Path) -> None:
    """Give the folder `new` the name `path`; an old folder of this name is then called as the new one was, or has been removed."""
    if not path.exists() or not any(path.iterdir()):
        os.replace(new, path)
    elif not _exchange(new, path):
        old = _beside(path, "old")
        try:
            os.replace(path, old)
            os.replace(new, path)
        except BaseException:
            if old.exists() and not path.exists():
                os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step; returns False where the system or the disk cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # of Linux; os has no function for it
    if rename is None:
        return False
    if rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(second))


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
