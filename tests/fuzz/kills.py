"""Kills commands: before or after the n-th step in which they rename, exchange, remove or fsync something, or after some time."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import m2asr.files
from tests.fuzz.commands import call

STEPS = [(os, "replace"), (os, "rename"), (os, "fsync"), (os, "unlink"), (shutil, "rmtree"), (m2asr.files, "_exchange")]


def killed(module: str, args: Sequence[str], folder: Path, moment: int | float | None) -> int:
    """Run a command in a child of this process, and end it with SIGKILL: at a step (int), or after seconds (float).

    An even step 2 n is killed before the n-th step, an odd one after it; with None the command is not killed. Returns how many of such
    moments there were, and -1 if it was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            count = _counting(moment if isinstance(moment, int) else -1, module, args, folder)
            os.write(writer, str(count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    if isinstance(moment, float):
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with open(reader, "rb") as counted:
        count = counted.read()
    return -1 if os.WIFSIGNALED(status) else int(count)


def _counting(moment: int, module: str, args: Sequence[str], folder: Path) -> int:
    """Run a command, and end the process at a moment; returns the number of moments."""
    count = 0

    def tick() -> None:
        nonlocal count
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    with pytest.MonkeyPatch.context() as patch:
        for home, name in STEPS:

            def step(*args: object, function: object = getattr(home, name), **options: object) -> object:
                tick()
                result = function(*args, **options)
                tick()
                return result

            patch.setattr(home, name, step)
        call(module, args, folder)
    return count
