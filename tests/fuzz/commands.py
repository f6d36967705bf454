"""Calls entry points in this process, and tells what is wrong with how they end and with what they leave behind."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import pytest

from m2asr.bin.command import run
from m2asr.errors import LONGEST

SECONDS = 300  # of a busy machine, after which a command hangs


class Ending(NamedTuple):
    """The exit code and the output of a command; code 1 and a traceback where an exception got out."""

    code: int
    out: str
    err: str


class Hanging(BaseException):
    """A command does not end; no `except Exception` catches this."""


def call(module: str, args: Sequence[str], folder: Path) -> Ending:
    """Run `python -m m2asr.bin.<module>` in a folder."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    main = importlib.import_module(f"m2asr.bin.{module}").main
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *args])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.chdir(folder)
        try:
            with limited(SECONDS):
                run(main)
        except SystemExit as end:
            code = end.code
        except (Exception, Hanging):  # noqa: BLE001 - Python would print it
            code = 1
            traceback.print_exc(file=err)
    return Ending(code, *(stream.buffer.getvalue().decode(errors="replace") for stream in (out, err)))


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise Hanging in the block when its time is over."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hanging(f"after {seconds} s it has not ended")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault(ending: Ending) -> str | None:
    """What is wrong with how a command ends: nothing where it works, or tells what is wrong in short lines."""
    lines = [line for line in ending.err.splitlines() if line]
    if "Traceback" in ending.err + ending.out:
        return f"a traceback: {lines[-1][:300]}"
    if ending.code not in (0, 1, 2):
        return f"exit code {ending.code}: {ending.err[-300:]}"
    if (longest := max(map(len, ending.err.splitlines()), default=0)) > LONGEST + len("error: "):
        return f"a line of {longest} characters"
    if ending.code == 2 and not (len(lines) == 1 and lines[0].startswith("error: ")):
        return f"no clear line: {ending.err[:300]!r}"
    if ending.code == 1 and not lines and not ending.out.strip():
        return "it fails without a word"
    return None


def contents(folder: Path) -> dict[str, bytes | str]:
    """{path: content} of the files of a folder, and {path: target} of its links."""
    files: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            files[str(path.relative_to(folder))] = os.readlink(path)
        elif path.is_file():
            files[str(path.relative_to(folder))] = path.read_bytes()
    return files


def lost(before: dict[str, bytes | str], folder: Path) -> str | None:
    """A file of a folder that was deleted or replaced, without a copy in .backup/ beside it."""
    after = contents(folder)
    for name, content in before.items():
        backup = str(Path(name).parent / ".backup" / Path(name).name)
        if after.get(name) != content and after.get(backup) != content:
            return f"{name}: {'replaced' if name in after else 'deleted'}"
    return None
