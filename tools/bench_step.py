"""Times the training of the demo on its real data: audio per second, CPU time per step, and the share of time spent waiting for data.

Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens), which `make bench` runs. Run from the root of the repository:
  python tools/bench_step.py
  python tools/bench_step.py --profile    # where the time of a step goes
  python tools/bench_step.py --beside_busy
  python tools/bench_step.py --config conf/train_supervised.yaml --set optim.type=adamw --threads 2
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from compare_revisions import with_lower_level
from m2asr.train.cpu import prepare_cpu

BLOCKS = 4  # blocks of `rounds` steps, each timed without and with a busy process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="steps that are timed, or profiled")
    parser.add_argument("--recipe", type=Path, default=Path("egs/mini"))
    parser.add_argument("--config", type=Path, default=Path("conf/train_m2asr.yaml"), help="inside the recipe")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config")
    parser.add_argument("--case", default="mini", help="tiny: a small model on noise")
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="run whose tokens/ are used, inside the recipe")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--beside_busy", action="store_true", help="print how much a busy process of another login slows it down")
    parser.add_argument("--profile", action="store_true", help="print where the time of a step goes")
    args = parser.parse_args()
    prepare_cpu(args.threads)
    import steps

    os.chdir(args.recipe)
    if args.case == "mini" and not (args.exp / "tokens").is_dir():
        parser.error("run ./run.sh --stop_stage tokens in egs/mini first")
    steps.CONFIG = args.config
    demo = steps.CASES[args.case].phase(with_lower_level(args.config, args.set), args.exp, "cpu")
    run = steps.training_step(demo)
    if args.profile:
        from step_profile import profile_step

        print(profile_step(run, steps.batches_of(demo, args.rounds), demo.dtype))
        return
    loader = iter(demo.loader)
    run(next(loader).draws(), 0)  # the time to start the workers does not count as time of a step
    if args.beside_busy:
        rates: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(2 * BLOCKS):
            with busy_process() if turn % 2 else contextlib.nullcontext():
                rates[turn % 2 == 1].append(timed(loader, run, args.rounds)[0])
        alone, beside = (statistics.median(rates[busy]) for busy in (False, True))
        print(f"{args.threads} threads: {alone:.1f} s of audio per s, {beside:.1f} beside a busy process: {beside / alone:.2f} (bar 0.70)")
        return
    demo.loader.wait_seconds = 0.0
    rate, seconds, elapsed, busy = timed(loader, run, args.rounds)
    print(
        f"demo: {rate:.1f} s of audio per s on {args.threads} threads, {seconds / busy:.1f} per s of CPU time, "
        f"{1000 * busy / args.rounds:.1f} ms of CPU time per step, {demo.loader.wait_seconds / elapsed:.2%} waiting for data (bar 3 %)"
    )


def timed(loader: Iterator, run: Callable, rounds: int) -> tuple[float, float, float, float]:
    """Run `rounds` steps; returns seconds of audio per second, and the seconds of audio, of time and of CPU time."""
    seconds, start, busy = 0.0, time.perf_counter(), time.process_time()
    for number, step in enumerate(itertools.islice(loader, rounds), 1):
        draws = step.draws()
        run(draws, number)
        seconds += sum(batch.seconds for draw in draws for batches in draw.values() for batch in batches)
    elapsed, busy = time.perf_counter() - start, time.process_time() - busy
    return seconds / elapsed, seconds, elapsed, busy


@contextlib.contextmanager
def busy_process() -> Iterator[None]:
    """Keep a core busy by a process at nice 10. It has a session of its own, as another login has: the system shares cores by session."""
    process = subprocess.Popen(["nice", "-n", "10", sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
