"""Downloads files: pinned by size and checksum, resumed, in parallel; every file appears completely or not at all."""

from __future__ import annotations

import hashlib
import os
import re
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
from m2asr.files import open_atomic, temporary_dir
from m2asr.progress import visible

PARALLEL = 4  # files fetched at the same time
TRIES = 5  # requests in a row without any data before a download fails
TIMEOUT = 20.0  # seconds without a byte
BLOCK = 1 << 18  # bytes read at once
SPARE = 100 << 20  # bytes of disk that stay free
LATER = (408, 429)  # request timeout, too many requests: answers below 500 after which a later request may succeed

LONGEST = 1 << 22  # bytes of a list of checksums
BROKEN = (HTTPException, TimeoutError, ConnectionError, urllib.error.URLError)  # errors of a connection

Item = TypeVar("Item")


class Remote(NamedTuple):
    """A file to fetch. `origin` is an address, `apt:PACKAGE=VERSION` (of Debian) or `pip:PACKAGE==VERSION` (of Python)."""

    name: str
    size: int | None  # bytes; None: ask the server
    checksum: str  # SHA-256 or MD5 in hexadecimal digits; "": none is published, so `record_checksum` keeps that of the first download
    origin: str


def download(files: Sequence[Remote], out: Path, room: int = 0) -> None:
    """Fetch into `out` the files that are missing or differ from their pins; a download from an address continues where it stopped.

    Later processing needs `room` more bytes. Raises UserError for a file that cannot be fetched or differs from its pin, and for a full
    disk.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = [file for file in (resolve(file, out) for file in files) if not _is_complete(out / file.name, file)]
    missing_bytes = sum(file.size - _fetched_bytes(out, file) for file in missing)
    free = shutil.disk_usage(out).free
    if missing_bytes + room and missing_bytes + room + SPARE > free:
        sizes = f"{missing_bytes / 1e6:.0f} MB are to come" + (f" and up to {room / 1e6:.0f} MB to be extracted" if room else "")
        raise UserError(f"--out {out}: {sizes}, {free / 1e6:.0f} MB are free; give a folder on another disk")
    with tqdm(total=missing_bytes, unit="B", unit_scale=True, desc="fetched", disable=not visible()) as bar:
        run_parallel(partial(_fetch, out=out, bar=bar), missing)


def resolve(file: Remote, out: Path) -> Remote:
    """Fill in what is not pinned: the size from the server, the checksum from the record of an earlier download. Raises UserError."""
    record = out / f"{file.name}.sha256"
    checksum = file.checksum or (_recorded(record) if record.is_file() else "")
    return file._replace(checksum=checksum, size=_server_size(file.origin) if file.size is None else file.size)


def _recorded(record: Path) -> str:
    """The checksum in a file of `record_checksum`. Raises UserError if there is none."""
    with open(record, "rb") as file:
        match = re.match(rb"[0-9a-f]{64}\b", file.read(100))
    if not match:
        raise UserError(f"{record}: there is no SHA-256 in it; remove this file, and the next download writes it again")
    return match[0].decode()


def record_checksum(file: Remote, out: Path) -> None:
    """Write NAME.sha256, as sha256sum does, beside a file without a published checksum; later downloads must have the same."""
    with open_atomic(out / f"{file.name}.sha256") as record:
        record.write(f"{_checksum(out / file.name)}  {file.name}\n")


def published_md5(origin: str) -> dict[str, str]:
    """{file: MD5} of a list in the format of md5sum; empty if the server has no such list."""
    try:
        _, content = _ask(origin)
    except UserError:
        return {}
    rows = [line.split() for line in content.decode(errors="replace").splitlines()]
    return {Path(row[1].lstrip("*")).name: row[0] for row in rows if len(row) == 2 and len(row[0]) == 32}


def run_parallel(work: Callable[[Item, threading.Event], None], items: Sequence[Item]) -> None:
    """Do `work` for items in parallel; it must stop soon after the event is set, which an error or Ctrl-C does."""
    stop = threading.Event()
    with ThreadPoolExecutor(PARALLEL) as pool:
        tasks = [pool.submit(work, item, stop) for item in items]
        try:
            finished, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in finished:
                task.result()
        except BaseException:  # Ctrl-C as well
            stop.set()
            for task in tasks:
                task.cancel()
            raise


def _is_complete(path: Path, file: Remote) -> bool:
    """Whether a file exists with the pinned size and checksum."""
    return path.is_file() and path.stat().st_size == file.size and file.checksum in ("", _checksum(path, file.checksum))


def _checksum(path: Path, pinned: str = "") -> str:
    """The SHA-256 of a file, or its MD5 if `pinned` is an MD5."""
    digest = hashlib.md5(usedforsecurity=False) if len(pinned) == 32 else hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _partial_path(out: Path, file: Remote) -> Path:
    """The path of a file while it is fetched; the checksum in it distinguishes versions."""
    return out / f".{file.name}.{file.checksum[:8]}.part"


def _fetched_bytes(out: Path, file: Remote) -> int:
    """The bytes of a file that were fetched already."""
    return _size(_partial_path(out, file))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch(file: Remote, stop: threading.Event, out: Path, bar: tqdm) -> None:
    """Fetch one file, check it and give it its name."""
    partial_file = _partial_path(out, file)
    kind, _, package = file.origin.partition(":")
    try:
        if kind in ("apt", "pip"):
            _from_client(kind, package, partial_file, stop)
        else:
            _from_address(file, partial_file, stop, bar)
    except OSError as error:
        error.filename = error.filename or str(partial_file)  # a full disk does not name the file
        raise
    if stop.is_set():
        return
    size = partial_file.stat().st_size
    if not _is_complete(partial_file, file):
        kind_of_sum, checksum = "MD5" if len(file.checksum) == 32 else "SHA-256", _checksum(partial_file, file.checksum)
        partial_file.unlink()
        raise _mismatch(file, f"{size} bytes with {kind_of_sum} {checksum}, not {file.size} with {file.checksum}")
    if kind in ("apt", "pip"):
        bar.update(size)
    with open(partial_file, "rb") as content:
        os.fsync(content.fileno())
    os.replace(partial_file, out / file.name)


def _from_address(file: Remote, partial_file: Path, stop: threading.Event, bar: tqdm) -> None:
    """Append the missing bytes to `partial_file`; if the server breaks off, ask it again for the rest."""
    tries = 0  # requests in a row without any data
    while (fetched := _size(partial_file)) < file.size and not stop.wait(2.0 ** (tries - 1) if tries else 0.0):
        try:
            problem = "it breaks off"
            _append(file, fetched, partial_file, stop, bar)
        except BROKEN as error:
            problem = _describe(error, file.origin)
        tries = 0 if _size(partial_file) > fetched else tries + 1
        if tries == TRIES:
            raise UserError(f"{file.origin}: {problem}, {TRIES} times; run the same command again to go on")


def _describe(error: Exception, origin: str) -> str:
    """A text for an error of a connection. Raises UserError if another request would fail as well."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code < 500 and error.code not in LATER:
            raise UserError(f"{origin}: it answers {error.code} {error.reason}; correct the address or the mirror") from None
        return f"{error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, FileNotFoundError):
        raise UserError(f"{origin}: there is no such file; correct the address or the mirror") from None
    return str(reason) or type(error).__name__


def _ask(origin: str, method: str = "GET") -> tuple[Message, bytes]:
    """Request the headers and content of a small file; HEAD gives no content. Raises UserError."""
    for tries in range(TRIES):
        time.sleep(2.0 ** (tries - 1) if tries else 0.0)
        try:
            with urllib.request.urlopen(urllib.request.Request(origin, method=method), timeout=TIMEOUT) as answer:
                return answer.headers, b"" if method == "HEAD" else answer.read(LONGEST)
        except BROKEN as error:
            problem = _describe(error, origin)
    raise UserError(f"{origin}: {problem}, {TRIES} times; run the same command again to go on")


def _server_size(origin: str) -> int:
    """Ask the server for the size of a file in bytes."""
    length = _length(_ask(origin, "HEAD")[0])
    if length is None:
        raise UserError(f"{origin}: the server does not tell its size; give another --mirror")
    return length


def _length(headers: Message) -> int | None:
    """The bytes that headers announce, or None where they announce none, or no number."""
    text = headers.get("Content-Length", "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _append(file: Remote, fetched: int, partial_file: Path, stop: threading.Event, bar: tqdm) -> None:
    """Request the bytes after the first `fetched` ones; a server that cannot resume sends the whole file again."""
    request = urllib.request.Request(file.origin, headers={"Range": f"bytes={fetched}-"} if fetched else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == 206
        announced = _length(answer.headers)
        length = file.size if announced is None else (fetched if resumed else 0) + announced
        if length != file.size:
            partial_file.unlink(missing_ok=True)
            raise _mismatch(file, f"{length} bytes, not {file.size}")
        bar.update(0 if resumed else -fetched)
        with open(partial_file, "ab" if resumed else "wb") as content:
            while not stop.is_set() and content.tell() <= file.size and (block := answer.read(BLOCK)):
                content.write(block)
                bar.update(len(block))


def _mismatch(file: Remote, difference: str) -> UserError:
    return UserError(f"{file.name}: {file.origin} gives another file than the pinned one: {difference}; try again, or another mirror")


def _from_client(kind: str, package: str, partial_file: Path, stop: threading.Event) -> None:
    """Let apt-get or pip download a package into a temporary folder, and take the only file that is there afterwards."""
    commands = {
        "apt": ["apt-get", "-q", "download", package],
        "pip": [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps", "--no-cache-dir", package],
    }
    hints = {"apt": "run apt-get update first, or give --mirror", "pip": "is PyPI, or a mirror of it, set up for pip?"}
    if shutil.which(commands[kind][0]) is None:
        raise UserError(f"{package}: there is no {commands[kind][0]} here; give --mirror, the address of a Debian mirror")
    with temporary_dir(partial_file) as folder, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(commands[kind], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        while process.poll() is None:
            if stop.is_set():
                process.terminate()
                process.wait()
                return
            time.sleep(0.05)
        files = list(folder.iterdir())
        if process.returncode or len(files) != 1:
            output.seek(0)
            lines = [line for line in output.read().decode(errors="replace").splitlines() if line.startswith(("E:", "ERROR:"))]
            raise UserError(f"{package}: {kind} cannot fetch it: {'; '.join(lines[-2:]) or process.returncode}; {hints[kind]}")
        os.replace(files[0], partial_file)
