"""Files from the network: pinned by size and checksum, resumed, several at once; every file appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from email.message import Message
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.progress import visible

AT_ONCE = 4  # files
TRIES = 5  # in a row of a server that gives nothing
TIMEOUT = 20.0  # seconds without a byte
BLOCK = 1 << 18  # bytes read at once
SPARE = 100 << 20  # bytes of disk that stay free
LATER = (408, 429)  # request timeout, too many requests: answers below 500 that may change

BROKEN = (HTTPException, TimeoutError, ConnectionError, urllib.error.URLError)  # of a connection

Item = TypeVar("Item")


class Remote(NamedTuple):
    """A file to fetch. `origin` is an address, `apt:PACKAGE=VERSION` (of Debian) or `pip:PACKAGE==VERSION` (of Python)."""

    name: str
    size: int | None  # bytes; None: the server tells
    checksum: str  # SHA-256 or MD5 in hexadecimal digits; "": none is published, and `remember` keeps that of the first download
    origin: str


def download(files: Sequence[Remote], out: Path, room: int = 0) -> None:
    """Fetch into `out` what is not there yet, or is there with another content; what was begun from an address goes on where it stopped.

    What is done with the files afterwards needs `room` bytes. Raises UserError for what cannot be fetched, is not what was pinned, or has
    no room on the disk.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = [file for file in (known(file, out) for file in files) if not _whole(out / file.name, file)]
    need = sum(file.size - _begun(out, file) for file in missing)
    free = shutil.disk_usage(out).free
    if need + room and need + room + SPARE > free:
        told = f"{need / 1e6:.0f} MB are to come" + (f" and up to {room / 1e6:.0f} MB to be extracted" if room else "")
        raise UserError(f"--out {out}: {told}, {free / 1e6:.0f} MB are free; give a folder on another disk")
    with tqdm(total=need, unit="B", unit_scale=True, desc="fetched", disable=not visible()) as bar:
        at_once(partial(_fetch, out=out, bar=bar), missing)


def known(file: Remote, out: Path) -> Remote:
    """A file with what is not pinned: the size that its server tells, the checksum that `remember` wrote. Raises UserError."""
    record = out / f"{file.name}.sha256"
    checksum = file.checksum or (record.read_text(encoding="utf-8").split()[0] if record.is_file() else "")
    return file._replace(checksum=checksum, size=_told_size(file.origin) if file.size is None else file.size)


def remember(file: Remote, out: Path) -> None:
    """Write NAME.sha256, as sha256sum does, beside a file of which no checksum is published: later downloads have to equal it."""
    with open_atomic(out / f"{file.name}.sha256") as record:
        record.write(f"{_checksum(out / file.name)}  {file.name}\n")


def published_md5(origin: str) -> dict[str, str]:
    """{file: MD5} of a list that md5sum has written; empty where the server has none."""
    try:
        _, content = _ask(origin)
    except UserError:
        return {}
    rows = [line.split() for line in content.decode(errors="replace").splitlines()]
    return {Path(row[1].lstrip("*")).name: row[0] for row in rows if len(row) == 2 and len(row[0]) == 32}


def at_once(work: Callable[[Item, threading.Event], None], items: Sequence[Item]) -> None:
    """Do `work` with several items at once; it has to stop soon after the event is set, by an error of another or Ctrl-C."""
    stop = threading.Event()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [pool.submit(work, item, stop) for item in items]
        try:
            done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in done:
                task.result()
        except BaseException:  # Ctrl-C as well
            stop.set()
            for task in tasks:
                task.cancel()
            raise


def _whole(path: Path, file: Remote) -> bool:
    """Whether a file is there with the content that was pinned."""
    return path.is_file() and path.stat().st_size == file.size and file.checksum in ("", _checksum(path, file.checksum))


def _checksum(path: Path, like: str = "") -> str:
    """The SHA-256 of a file, or its MD5 where `like` is one."""
    total = hashlib.md5(usedforsecurity=False) if len(like) == 32 else hashlib.sha256()
    with open(path, "rb") as opened:
        while block := opened.read(BLOCK):
            total.update(block)
    return total.hexdigest()


def _part(out: Path, file: Remote) -> Path:
    """Where a file grows; the checksum in its name keeps it apart from another version."""
    return out / f".{file.name}.{file.checksum[:8]}.part"


def _begun(out: Path, file: Remote) -> int:
    """Bytes of a file that are there already."""
    return _size(_part(out, file))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch(file: Remote, stop: threading.Event, out: Path, bar: tqdm) -> None:
    """Fetch one file, check it and give it its name."""
    part = _part(out, file)
    kind, _, package = file.origin.partition(":")
    try:
        if kind in ("apt", "pip"):
            _from_client(kind, package, part, stop)
        else:
            _from_address(file, part, stop, bar)
    except OSError as error:
        error.filename = error.filename or str(part)  # a full disk does not name the file
        raise
    if stop.is_set():
        return
    size = part.stat().st_size
    if not _whole(part, file):
        kind_of_sum, found = "MD5" if len(file.checksum) == 32 else "SHA-256", _checksum(part, file.checksum)
        part.unlink()
        raise _another(file, f"{size} bytes with {kind_of_sum} {found}, not {file.size} with {file.checksum}")
    if kind in ("apt", "pip"):
        bar.update(size)
    with open(part, "rb") as opened:
        os.fsync(opened.fileno())
    os.replace(part, out / file.name)


def _from_address(file: Remote, part: Path, stop: threading.Event, bar: tqdm) -> None:
    """Append what is missing to `part`; a server that breaks off is asked again for the rest."""
    tries = 0  # in a row that brought nothing
    while (begun := _size(part)) < file.size and not stop.wait(2.0 ** (tries - 1) if tries else 0.0):
        try:
            why = "it breaks off"
            _append(file, begun, part, stop, bar)
        except BROKEN as error:
            why = _why(error, file.origin)
        tries = 0 if _size(part) > begun else tries + 1
        if tries == TRIES:
            raise UserError(f"{file.origin}: {why}, {TRIES} times; run the same command again to go on")


def _why(error: Exception, origin: str) -> str:
    """What went wrong. Raises UserError where it would go wrong again."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code < 500 and error.code not in LATER:
            raise UserError(f"{origin}: it answers {error.code} {error.reason}; correct the address or the mirror") from None
        return f"{error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, FileNotFoundError):
        raise UserError(f"{origin}: there is no such file; correct the address or the mirror") from None
    return str(reason) or type(error).__name__


def _ask(origin: str, method: str = "GET") -> tuple[Message, bytes]:
    """Headers and content of a small file; HEAD has no content. Raises UserError."""
    for tries in range(TRIES):
        time.sleep(2.0 ** (tries - 1) if tries else 0.0)
        try:
            with urllib.request.urlopen(urllib.request.Request(origin, method=method), timeout=TIMEOUT) as answer:
                return answer.headers, b"" if method == "HEAD" else answer.read()
        except BROKEN as error:
            why = _why(error, origin)
    raise UserError(f"{origin}: {why}, {TRIES} times; run the same command again to go on")


def _told_size(origin: str) -> int:
    """The bytes of a file, as its server tells them."""
    length = _ask(origin, "HEAD")[0].get("Content-Length", "")
    if not length.isdigit():
        raise UserError(f"{origin}: the server does not tell its size; give another --mirror")
    return int(length)


def _append(file: Remote, begun: int, part: Path, stop: threading.Event, bar: tqdm) -> None:
    """Ask a server for what comes after the first `begun` bytes; one that cannot resume sends all of it again."""
    request = urllib.request.Request(file.origin, headers={"Range": f"bytes={begun}-"} if begun else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == 206
        length = (begun if resumed else 0) + int(answer.headers.get("Content-Length", file.size - begun * resumed))
        if length != file.size:
            part.unlink(missing_ok=True)
            raise _another(file, f"{length} bytes, not {file.size}")
        bar.update(0 if resumed else -begun)
        with open(part, "ab" if resumed else "wb") as opened:
            while not stop.is_set() and opened.tell() <= file.size and (block := answer.read(BLOCK)):
                opened.write(block)
                bar.update(len(block))


def _another(file: Remote, what: str) -> UserError:
    return UserError(f"{file.name}: {file.origin} gives another file than the pinned one: {what}; try again, or another mirror")


def _from_client(kind: str, package: str, part: Path, stop: threading.Event) -> None:
    """Have apt-get or pip download a package, in a folder of its own, and take the one file that it leaves there."""
    commands = {
        "apt": ["apt-get", "-q", "download", package],
        "pip": [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps", "--no-cache-dir", package],
    }
    hints = {"apt": "run apt-get update first, or give --mirror", "pip": "is PyPI, or a mirror of it, set up for pip?"}
    if shutil.which(commands[kind][0]) is None:
        raise UserError(f"{package}: there is no {commands[kind][0]} here; give --mirror, the address of a Debian mirror")
    with tempfile.TemporaryDirectory(dir=part.parent, prefix=".") as folder, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(commands[kind], cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        while process.poll() is None:
            if stop.is_set():
                process.terminate()
                process.wait()
                return
            time.sleep(0.05)
        found = list(Path(folder).iterdir())
        if process.returncode or len(found) != 1:
            said.seek(0)
            lines = [line for line in said.read().decode(errors="replace").splitlines() if line.startswith(("E:", "ERROR:"))]
            raise UserError(f"{package}: {kind} cannot fetch it: {'; '.join(lines[-2:]) or process.returncode}; {hints[kind]}")
        os.replace(found[0], part)
