"""Times one training in one process with one thread, in one process with a thread per core, and in one process per core.

All compute the same steps; each variant trains anew in every round, in turn, so run it on an idle machine. The last two variants run
trainings that never wait for each other, one on each core with one thread, at the same time; their rates are added up. With a share of
every batch each they do the work of the processes without their exchange; with whole batches each has less overhead per second of audio.
Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens). Run from the root of the repository:
  python tools/bench_processes.py
  python tools/bench_processes.py --config conf/train_supervised.yaml --hours 2 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from m2asr.config import load_config
from m2asr.train_config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="conf/train_m2asr.yaml", help="inside egs/mini")
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="run whose tokens/ are used, inside egs/mini")
    parser.add_argument("--hours", type=float, default=1.0, help="of audio in each training; its first 20 steps do not count")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    recipe, cores = ROOT / "egs" / "mini", len(os.sched_getaffinity(0))
    if not (recipe / args.exp / "tokens").is_dir():
        parser.error("run ./run.sh --stop_stage tokens in egs/mini first")

    share = f"batching.seconds={load_config(TrainConfig, recipe / args.config, []).batching.seconds / cores}"
    alone = ["--threads", "1"]
    variants = {  # name -> options of a training, changes of its config, and how many of it run at the same time
        "one process, one thread": (alone, [], 1),
        f"one process, {cores} threads": (["--threads", str(cores)], [], 1),
        f"{cores} processes, one thread each": (["--nproc", str(cores)], [], 1),
        f"{cores} trainings, batches of 1 / {cores}": (alone, [share], cores),
        f"{cores} trainings, whole batches": (alone, [], cores),
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(args.rounds):
        for name, (options, changes, copies) in variants.items():
            hours = args.hours / cores if changes else args.hours  # for the same number of steps
            work = (args.config, recipe / args.exp / "tokens", [f"train.hours={hours}", *changes], options)
            with ThreadPoolExecutor(copies) as pool:
                trainings = [pool.submit(train, *work) for _ in range(copies)]
                rates[name].append(sum(training.result() for training in trainings))
            print(f"round {number + 1}, {name}: {rates[name][-1]:.0f} s of audio per s", flush=True)

    baseline = rates[f"one process, {cores} threads"]
    print(f"\n{args.config}, median of {args.rounds} rounds, ratio to one process with {cores} threads (single rounds):")
    for name, values in rates.items():
        ratios = [value / base for value, base in zip(values, baseline, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name:32}  {statistics.median(values):6.0f} s/s   {statistics.median(ratios):.2f} ({spread})")


def train(config: str, tokens: Path, changes: list[str], options: list[str]) -> float:
    """The seconds of audio per second of one training in egs/mini, without its first 20 steps and without development sets."""
    changes = [*changes, "train.log_every=20", "train.eval_every=1000", "train.save_every=null", "train.conflicts=false"]
    with tempfile.TemporaryDirectory() as folder:
        exp = Path(folder)
        (exp / "tokens").symlink_to(tokens)
        command = [sys.executable, "-m", "m2asr.bin.train", "--config", config, "--exp", folder, "--set", *changes, *options]
        result = subprocess.run(command, cwd=ROOT / "egs" / "mini", capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(result.stderr)
        lines = [json.loads(line) for line in (exp / "train.jsonl").read_text().splitlines()]
    points = [(line["seconds"], line["audio_per_second"]) for line in lines if line["kind"] == "train"]
    if len(points) < 3:
        raise SystemExit("fewer than 60 steps; give more --hours")
    spans = [(seconds - before, rate) for (before, _), (seconds, rate) in zip(points, points[1:], strict=False)]
    return sum(length * rate for length, rate in spans) / sum(length for length, _ in spans)


if __name__ == "__main__":
    main()
