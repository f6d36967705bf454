"""Recipes in temporary folders, which tests run as a user runs them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KILLER = """
import os, re, signal, sys
if "KILL_AT" in os.environ:
    count, pattern = os.environ["KILL_AT"].split(" ", 1)
    count, pattern = int(count), re.compile(pattern)

    def watch(event, args):
        global count
        if event == "os.rename" and pattern.search(os.fsdecode(args[1])):
            count -= 1
            if not count:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(watch)
"""


def cpu_seconds() -> float:
    """CPU time of the commands that have ended, which does not depend on how busy the machine is."""
    return os.times().children_user + os.times().children_system


class Recipe:
    """A copy of a recipe at <root>/egs/<name> beside the toolkit's utils; its .venv has the python of this test run."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder = root / "egs" / name
        self.folder.mkdir(parents=True)
        (root / "utils").symlink_to(ROOT / "utils")
        binaries = root / ".venv" / "bin"
        binaries.mkdir(parents=True)
        python = binaries / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(0o755)
        (root / ".venv" / ".ready").touch()
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(self, *options: str) -> subprocess.Popen[str]:
        """`./run.sh OPTIONS` in a process group of its own, as a shell starts it."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        settings = {"cwd": self.folder, "env": self.environment, "text": True, "start_new_session": True, "preexec_fn": _hear_signals}
        return subprocess.Popen(["./run.sh", *options], **settings, **streams)

    def run(self, *options: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """`./run.sh OPTIONS` to its end."""
        process = self.start(*options)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def stop(self, process: subprocess.Popen[str], number: signal.Signals) -> subprocess.CompletedProcess[str]:
        """Send a signal to the whole group, as a terminal does on Ctrl-C."""
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def wait_for(self, path: str, timeout: float = 30) -> None:
        """Wait until a file of the recipe folder exists."""
        end = time.monotonic() + timeout
        while not (self.folder / path).exists():
            assert time.monotonic() < end, f"{path} did not appear"
            time.sleep(0.02)


class Copied(Recipe):
    """A copy of a recipe of egs/; every python that it starts runs the file `hooks` first."""

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(root, name)
        self.hooks = root / "site/sitecustomize.py"
        self.hooks.parent.mkdir()
        self.hooks.write_text(KILLER)
        self.environment["PYTHONPATH"] = f"{self.hooks.parent}:{self.environment['PYTHONPATH']}"
        for file in ("run.sh", "cmd.sh"):
            shutil.copy2(ROOT / "egs" / name / file, self.folder / file)
        shutil.copytree(ROOT / "egs" / name / "conf", self.folder / "conf")

    def run_killed(self, stage: str, path: str, *options: str, count: int = 1, timeout: float = 600) -> None:
        """Run `./run.sh OPTIONS` and kill all its processes inside a stage, when a program is about to rename a finished file or folder.

        It is the `count`-th rename of the program to a path that matches the regular expression `path`. The files that the program wrote
        before are there, some of them under temporary names.
        """
        self.environment["KILL_AT"] = f"{count} {path}"
        try:
            result = self.run(*options, timeout=timeout)
        finally:
            del self.environment["KILL_AT"]
        assert result.returncode == -signal.SIGKILL, result.stdout + result.stderr
        number, name = stage.split()
        assert f"stage {number} {name}: " in result.stdout and f"stage {number} {name}: done" not in result.stdout, result.stdout

    def contents(self, *tops: str) -> dict[str, bytes]:
        """{path: content} of the files below some folders, without hidden files and without indexes, which depend on times of change."""
        paths = (path.relative_to(self.folder) for top in tops for path in (self.folder / top).rglob("*") if path.is_file())
        visible = (path for path in paths if not any(name[0] == "." or name == "index" for name in path.parts))
        return {str(path): (self.folder / path).read_bytes() for path in visible}

    def written(self) -> dict[Path, int]:
        """The time at which each file of its results was written."""
        tops = ("data", "dump", "exp")
        return {path: path.stat().st_mtime_ns for top in tops for path in (self.folder / top).rglob("*") if path.is_file()}


def _hear_signals() -> None:
    """Restore the default handling of signals. Tests that run in the background or by nohup ignore some, and bash cannot trap those."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
