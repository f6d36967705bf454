"""The processes that m2asr starts: their ends, and work that they share out."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext
from multiprocessing.process import BaseProcess
from typing import TypeVar

from m2asr.errors import UserError
from m2asr.out_of_memory import is_out_of_memory

Result = TypeVar("Result")
Report = Callable[[int], object]  # takes the number of items that are done
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def end_with_parent() -> None:
    """Have Linux kill this process as soon as its parent process has ended, for whatever reason; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_starter() -> None:
    """End this process, which a fork server has forked, as soon as the process that asked for it has ended, for whatever reason.

    Its parent is the fork server, which stays as long as one of its processes does.
    """

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_forked(work: Callable[[int, Report], Result], count: int, report: Report) -> list[Result]:
    """The results of work(0, report) to work(count - 1, report), each from a process that shares the memory of this one.

    What they report arrives here at `report`. A single process is this one, without a fork. A fork has none of the threads of this process,
    so `work` must not wait for any, and no accelerator may be in use. Raises the error of a process, and UserError where one was killed,
    has failed or could not be started.
    """
    if count == 1:
        return [work(0, report)]
    context = multiprocessing.get_context("fork")
    processes: dict[Connection, BaseProcess] = {}
    results: dict[Connection, Result] = {}
    try:
        for rank in range(count):
            receiver, process = _start(context, work, rank, count)
            processes[receiver] = process
        while waiting := [receiver for receiver in processes if receiver not in results]:
            for receiver in wait(waiting):
                message = _receive(receiver, processes[receiver])
                if isinstance(message, int):
                    report(message)
                else:
                    results[receiver] = message[0]
    except BaseException:
        for process in processes.values():
            process.kill()
        raise
    finally:
        for receiver, process in processes.items():
            process.join()
            receiver.close()
    return [results[receiver] for receiver in processes]


def _start(context: ForkContext, work: Callable[[int, Report], object], rank: int, count: int) -> tuple[Connection, BaseProcess]:
    """Start a process that does not see Ctrl-C, which this process handles. Raises UserError where there are too many."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is blocked here stays blocked in the new process
    try:
        receiver, sender = context.Pipe(duplex=False)
        with sender:  # the process has its own, and the next ones shall have none: when the process ends, so does the pipe
            process = context.Process(target=_send_result, args=(work, rank, sender), daemon=True)
            process.start()
        return receiver, process
    except OSError as error:
        raise UserError(f"cannot start {count} processes: {error.strerror}; give a smaller --nj") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send_result(work: Callable[[int, Report], Result], rank: int, sender: Connection) -> None:
    """Send what `work` reports, as numbers, and at last its result, in a tuple, or an error that a message explains."""
    end_with_parent()
    try:
        sender.send((work(rank, sender.send),))
    except Exception as error:
        if not isinstance(error, (UserError, OSError)) and not is_out_of_memory(error):
            raise  # Python prints where it came from
        sender.send(error)


def _receive(receiver: Connection, process: BaseProcess) -> int | tuple:
    """The next message of a process. Raises its error, or UserError if it has ended without a result."""
    try:
        message = receiver.recv()
    except (EOFError, OSError):  # between two messages, or within one
        process.join()
        if process.exitcode < 0:
            raise UserError("a process was killed, most likely because memory ran out; give a smaller --nj") from None
        raise UserError("a process failed, see above") from None
    if isinstance(message, Exception):
        raise message
    return message
