"""Work that processes share out: results in order, reports, errors, and processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from m2asr.errors import UserError
from m2asr.processes import Report, run_forked

INTERRUPTED = """
import os, time
from m2asr.processes import run_forked

def work(rank, report):
    report(os.getpid())
    time.sleep(60)

try:
    run_forked(work, 2, lambda pid: print(pid, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

TOO_MANY = """
import resource, time
from m2asr.processes import run_forked
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
try:
    run_forked(lambda rank, report: time.sleep(60), 40, print)
except Exception as error:
    print(error, flush=True)
"""


@pytest.mark.parametrize("count", [1, 3])
def test_results_are_in_order_and_what_is_reported_arrives(count):
    seen, shared = [], {"base": 7}  # a fork sees what was in memory here

    def work(rank: int, report: Report) -> tuple[int, int]:
        time.sleep(0.05 * (count - rank))  # the first is the last to end
        for _ in range(rank + 1):
            report(rank + 1)
        return rank, shared["base"] + rank

    assert run_forked(work, count, seen.append) == [(rank, 7 + rank) for rank in range(count)]
    assert sorted(seen) == sorted(rank + 1 for rank in range(count) for _ in range(rank + 1))


def test_every_process_is_one_of_its_own():
    pids = run_forked(lambda rank, report: os.getpid(), 3, print)
    assert len({*pids, os.getpid()}) == 4
    assert run_forked(lambda rank, report: os.getpid(), 1, print) == [os.getpid()]


def test_the_error_of_a_process_is_raised_and_the_others_end_at_once():
    def work(rank: int, report: Report) -> None:
        report(os.getpid())
        if rank == 1:
            raise UserError("utt7: no features", exit_code=2)
        time.sleep(60)

    pids: list[int] = []
    start = time.monotonic()
    with pytest.raises(UserError, match="utt7: no features") as caught:
        run_forked(work, 3, pids.append)
    assert caught.value.exit_code == 2 and time.monotonic() - start < 30
    assert_ended(pids)


def failing(error: BaseException) -> Callable[[int, Report], None]:
    def work(rank: int, report: Report) -> None:
        if rank == 1:
            raise error
        time.sleep(60)

    return work


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "dump/x.ark"), OSError(28, "No space left"), MemoryError("7 GB")])
def test_an_error_of_the_system_comes_as_it_is(error):
    with pytest.raises(type(error)) as caught:
        run_forked(failing(error), 2, print)
    assert str(caught.value) == str(error)


def test_another_error_is_printed_with_the_place_where_it_came_from(capfd):
    with pytest.raises(UserError, match="^a process failed, see above$"):
        run_forked(failing(ValueError("a bug")), 2, print)
    assert "in work" in (told := capfd.readouterr().err) and "ValueError: a bug" in told


def test_more_processes_than_the_system_allows_are_told():
    done = subprocess.run([sys.executable, "-c", TOO_MANY], capture_output=True, text=True, timeout=60)
    assert done.stdout == "cannot start 40 processes: Too many open files; give a smaller --nj\n", done.stderr


def test_a_process_that_is_killed_within_its_result_is_told():
    def work(rank: int, report: Report) -> bytes:
        report(os.getpid())
        return bytes(10**7)  # more than a pipe holds

    def kill(pid: int) -> None:
        time.sleep(0.5)  # until the process waits for the rest to be read
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(UserError, match="a process was killed"):
        run_forked(work, 2, kill)


def test_a_process_that_is_killed_is_told():
    def work(rank: int, report: Report) -> None:
        if rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    start = time.monotonic()
    with pytest.raises(UserError, match="a process was killed, most likely because memory ran out"):
        run_forked(work, 3, print)
    assert time.monotonic() - start < 30


def test_ctrl_c_ends_all_processes_and_only_the_first_tells():
    line, pipe = [sys.executable, "-c", INTERRUPTED], subprocess.PIPE
    process = subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    pids = [int(process.stdout.readline()) for _ in range(2)]
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out == "interrupted\n" and err == "" and process.returncode == 0
    assert_ended(pids)


def assert_ended(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(goes_on(pid) for pid in pids):
        assert time.monotonic() < deadline, "a process goes on"
        time.sleep(0.05)


def goes_on(pid: int) -> bool:
    """Whether a process exists and has not ended; one that has ended stays until it is waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
