"""Times the training of the demo on its real data: audio per second, and the share of time spent waiting for it.

Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens), which `make bench` sees to. Run from the root of the repository:
  python tools/bench_step.py
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from pathlib import Path

import torch

from steps import CASES, training_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--recipe", type=Path, default=Path("egs/mini"))
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="run whose tokens/ are used, inside the recipe")
    args = parser.parse_args()
    os.chdir(args.recipe)
    if not (args.exp / "tokens").is_dir():
        parser.error("run ./run.sh --stop_stage tokens in egs/mini first")
    demo = CASES["mini"].phase(["penalty={start: 0.1, end: 0.1}"], args.exp, "cpu")
    run, start, seconds = training_step(demo), time.perf_counter(), 0.0
    for number, step in enumerate(itertools.islice(demo.loader, args.rounds + 1)):
        draws = step.draws()
        run(draws, number)
        seconds += sum(batch.seconds for draw in draws for batches in draw.values() for batch in batches)
        if number == 0:  # starting the workers is not part of a step
            start, seconds, demo.loader.wait_seconds = time.perf_counter(), 0.0, 0.0
    elapsed = time.perf_counter() - start
    wait = demo.loader.wait_seconds / elapsed
    print(f"demo: {seconds / elapsed:.1f} s of audio per s on {torch.get_num_threads()} threads, {wait:.2%} waiting for data (bar 3 %)")


if __name__ == "__main__":
    main()
