"""Starts the processes of a run on this machine, as torchrun does, and ends with one line where they fail."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from m2asr.errors import UserError


def launched() -> bool:
    """Whether this process is one of several that torchrun, or a program that sets the same variables, has started."""
    return {"RANK", "MASTER_ADDR"} <= os.environ.keys() and int(os.environ.get("WORLD_SIZE", "1")) > 1


def launch(processes: int, module: str, arguments: Sequence[str], max_restarts: int = 0) -> int:
    """Run `python -m module arguments` in several processes; returns their exit code.

    Where one was killed, all are ended and started again, `max_restarts` times at most; where one ends with an error, it stays at that: the
    error would only come back. Raises UserError where one is killed once more, KeyboardInterrupt after Ctrl-C.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # torchrun's own report; the process that failed has said why
    while True:
        config = LaunchConfig(1, 1, processes, run_id=uuid.uuid4().hex, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0)
        try:
            elastic_launch(config, sys.executable)("-m", module, *arguments)
            return 0
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            return 128 + error.sigval
        except ChildFailedError as error:
            codes = [failure.exitcode for failure in error.failures.values()]
        killed = [code for code in codes if code < 0 and code != -signal.SIGTERM]  # SIGTERM ends those that are left
        if not killed:
            return max(codes, default=1)
        if not max_restarts:
            raise UserError(f"a process was killed by {_signal(-killed[0])}; run the same command again to go on")
        max_restarts -= 1
        print(f"a process was killed by {_signal(-killed[0])}; starting again from the last checkpoint", file=sys.stderr)


def _signal(number: int) -> str:
    """A signal by number, and what it most likely means."""
    if number == signal.SIGKILL:
        return f"signal {number}, most likely since memory ran out (lower batching.seconds or the number of processes)"
    return f"signal {number}"
