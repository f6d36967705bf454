"""Times the training of the demo on its real data: audio per second, CPU time per step, and the share of time spent waiting for data.

Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens), which `make bench` sees to. Run from the root of the repository:
  python tools/bench_step.py
  python tools/bench_step.py --profile    # where the time of a step goes
  python tools/bench_step.py --config conf/train_supervised.yaml --set optim.type=adamw --threads 2
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from pathlib import Path

from compare_revisions import with_lower_level
from m2asr.train.cpu import prepare_cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="steps that are timed, or profiled")
    parser.add_argument("--recipe", type=Path, default=Path("egs/mini"))
    parser.add_argument("--config", type=Path, default=Path("conf/train_m2asr.yaml"), help="inside the recipe")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config")
    parser.add_argument("--case", default="mini", help="tiny: a small model on noise")
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="run whose tokens/ are used, inside the recipe")
    parser.add_argument("--threads", type=int, default=1)
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
    seconds = 0.0
    for number, step in enumerate(itertools.islice(demo.loader, args.rounds + 1)):
        draws = step.draws()
        if number == 0:  # starting the workers is not part of a step
            run(draws, number)
            start, busy, demo.loader.wait_seconds = time.perf_counter(), time.process_time(), 0.0
            continue
        run(draws, number)
        seconds += sum(batch.seconds for draw in draws for batches in draw.values() for batch in batches)
    elapsed, busy = time.perf_counter() - start, time.process_time() - busy
    print(
        f"demo: {seconds / elapsed:.1f} s of audio per s on {args.threads} threads, {seconds / busy:.1f} per s of CPU time, "
        f"{1000 * busy / args.rounds:.1f} ms of CPU time per step, {demo.loader.wait_seconds / elapsed:.2%} waiting for data (bar 3 %)"
    )


if __name__ == "__main__":
    main()
