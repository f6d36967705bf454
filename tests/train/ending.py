"""Two processes that end in the way that is asked for; started by themselves, as bin.train is."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from m2asr.bin.command import run
from m2asr.errors import UserError
from m2asr.train.launch import launch, launched


def main(_: list[str] | None) -> int:
    how, folder, restarts = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if not launched():
        return launch(2, "tests.train.ending", sys.argv[1:], restarts)
    from m2asr.train.distributed import joined

    with joined(gpu=False) as group:
        (folder / f"{group.rank}.pid").write_text(str(os.getpid()))
        again = (folder / "killed").exists()
        group.exchange(None)
        if how == "one is killed, then both fail" and not again:
            if group.rank == 1:
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            group.exchange(None)
        if how == "they work":
            time.sleep(60)
        if how != "one fails" or group.rank == 1:
            raise UserError("this is the mistake", exit_code=2)
        group.exchange(None)
    return 0


if __name__ == "__main__":
    run(main)
