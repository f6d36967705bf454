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
from multiprocessing.process import BaseProcess
from typing import TypeVar

from m2asr.errors import UserError

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

    What they report arrives here at `report`. A single process is this one, without a fork. Since a fork has no threads, torch must have
    used but one of the CPU so far, and no accelerator. Raises the UserError of a process, or one if a process was killed.
    """
    if count == 1:
        return [work(0, report)]
    context = multiprocessing.get_context("fork")
    processes: list[BaseProcess] = []
    ranks: dict[Connection, int] = {}
    results: list[Result | None] = [None] * count
    try:
        for rank in range(count):
            receiver, sender = context.Pipe(duplex=False)
            ranks[receiver] = rank
            processes.append(context.Process(target=_send_result, args=(work, rank, sender), daemon=True))
            _start_without_interrupt(processes[-1])
            sender.close()  # the process has its own, and the next ones shall have none: when the process ends, so does the pipe
        while ranks:
            for receiver in wait(list(ranks)):
                message = _receive(receiver)
                if isinstance(message, int):
                    report(message)
                else:
                    results[ranks.pop(receiver)] = message[0]
    except BaseException:
        for process in processes:
            if process.is_alive():
                process.kill()
        raise
    for process in processes:
        process.join()
    return results  # type: ignore[return-value]


def _start_without_interrupt(process: BaseProcess) -> None:
    """Start a process that does not see Ctrl-C, which the process that starts it handles."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is blocked here stays blocked in the new process
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send_result(work: Callable[[int, Report], Result], rank: int, sender: Connection) -> None:
    """Send what `work` reports, as numbers, and at last its result, in a tuple, or its UserError."""
    end_with_parent()
    try:
        sender.send((work(rank, sender.send),))
    except UserError as error:
        sender.send(error)


def _receive(receiver: Connection) -> int | tuple:
    """The next message of a process. Raises its UserError, or one if it has ended without a result."""
    try:
        message = receiver.recv()
    except EOFError:
        raise UserError("a process was killed, most likely because memory ran out, or failed, see above; give a smaller --nj") from None
    if isinstance(message, UserError):
        raise message
    return message
