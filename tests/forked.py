"""Runs commands as `python -m` does, in processes that are forked from one that has imported torch, which takes seconds.

Tests of the start of Python, of signals and of processes that start others use `subprocess` instead.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORTED = (  # what takes long; optimizers import torch._dynamo, numbers in English texts the cleaners
    "torch._dynamo",
    "torch.utils.tensorboard",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "tacotron_cleaner.cleaners",
    "m2asr.corpora",
    "m2asr.data.extract",
    "m2asr.decode.recognize",
    "m2asr.train.trainer",
)
_exit_code = 1  # of an error that Python reports


def run(module: str | Path, *args: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m <module> <args>` in the folder of the repository, or `python <module> <args>` where it is the path of a file.

    Returns its exit code and what it printed.
    """
    line = [str(module), *map(str, args)]
    with tempfile.TemporaryDirectory() as folder:
        streams = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        server = _server()
        server.stdin.write(json.dumps({"line": line, "env": dict(os.environ), "streams": streams}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(line, code, *(Path(path).read_text(encoding="utf-8") for path in streams))


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends when this process does, which closes its standard input."""
    line = [sys.executable, "-m", __name__]
    return subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _next_request() -> dict:
    """Fork a process per request and print its exit code; returns the request in the forked process."""
    for text in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return json.loads(text)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    sys.exit(0)


def _become(line: list[str], env: dict[str, str], streams: list[str]) -> None:
    """Go on as a process that was started with this command line and environment, whose output goes to two files."""
    global _exit_code
    os.environ.clear()
    os.environ.update(env)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.argv = line
    try:
        if line[0].endswith(".py"):
            sys.path.insert(0, str(Path(line[0]).parent))
            runpy.run_path(line[0], run_name="__main__")
        else:
            runpy.run_module(line[0], run_name="__main__", alter_sys=True)
        _exit_code = 0
    except SystemExit as end:
        _exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def _leave() -> None:
    """End the process when all other exit handlers have run; Python would take down the modules of torch as well, which takes a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_exit_code)


if __name__ == "__main__":
    atexit.register(_leave)  # the first is called last
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the garbage collector would copy the pages that the processes share
    _become(**_next_request())
