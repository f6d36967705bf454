"""Times the multi-objective step of the demo on its real data, and what weighting costs over adding losses up.

Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage 2). Run from the root of the repository:
  python tools/bench_step.py
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from pathlib import Path

import torch

from m2asr.config import load_config
from m2asr.objectives.system import resolve
from m2asr.train.materials import gather
from m2asr.train.phase import Phase
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig

SEPARATE = "the three recognition objectives, one stream each"
DEMO = "the demo's objectives: three streams with recognition, two of them with translation as well, CPC below"


def make(config: Path, exp: Path, *overrides: str) -> Phase:
    """The single phase of the recipe's training, with changes to its config; nothing is written."""
    changed = resolve(load_config(TrainConfig, config, list(overrides)))
    (phase,) = Trainer(changed, gather(changed, Path("data"), Path("dump"), exp), exp).phases
    phase.start()
    return phase


def compare(phases: dict[str, Phase], source: Phase, rounds: int, gamma: float) -> dict[str, list[float]]:
    """Seconds per step of phases that take turns on the same batches, those of `source` with its two draws.

    A weighting that wants one batch per stream gets the two as micro-batches. Every batch is run once before it is timed, since
    whoever meets its shapes first pays for preparing kernels.
    """
    times: dict[str, list[float]] = {name: [] for name in phases}
    names = list(phases)
    for number, step in enumerate(itertools.islice(source.loader, rounds)):
        draws = step.draws()
        joined = [{stream: [batch for draw in batches for batch in draw] for stream, batches in step.batches.items()}]
        phases[names[0]].joint(joined, number, factors(phases[names[0]], gamma))
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            one, start = phases[name], time.perf_counter()
            one.joint(draws if one.levels[0].draws == 2 else joined, number, factors(one, gamma))
            one.optimizer.step(0.0)
            times[name].append(time.perf_counter() - start)
    return times


def factors(phase: Phase, gamma: float) -> list[float]:
    """Those of the levels."""
    return [1.0, gamma][: len(phase.levels)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--recipe", type=Path, default=Path("egs/mini"))
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="run whose tokens/ are used, inside the recipe")
    args = parser.parse_args()
    os.chdir(args.recipe)
    if not (args.exp / "tokens").is_dir():
        parser.error("run ./run.sh --stop_stage 2 in egs/mini first")
    config = Path("conf/train_m2asr.yaml")
    separate = [
        "objectives={asr_en: {type: ctc, stream: en, tokens: en}, asr_it: {type: ctc, stream: it, tokens: it}, "
        "asr_ru: {type: ctc, stream: ru, tokens: ru}}",
        "penalty=null",
        "train.workers=0",
    ]
    separate.append("streams={en: {sets: [train_en]}, it: {sets: [train_it]}, ru: {sets: [train_ru]}}")
    separate.append("batching.shares={}")
    for title, overrides, bar in ((SEPARATE, separate, 1.10), (DEMO, ["train.workers=0"], None)):
        phases = {kind: make(config, args.exp, *overrides, f"weighting={{type: {kind}}}") for kind in ("static", "mgda", "modo")}
        times = compare(phases, phases["modo"], args.rounds, gamma=0.1)
        print(title)
        for name, values in times.items():
            # paired: every step's time over that of static on the same batches
            ratio = statistics.median(value / other for value, other in zip(values, times["static"], strict=True))
            note = f"  (bar {bar})" if bar and name == "modo" else ""
            print(f"  {name:<7} {1000 * statistics.median(values):7.0f} ms   {ratio:.3f} of static{note}")
    demo = make(config, args.exp)
    start, seconds = time.perf_counter(), 0.0
    for number, step in enumerate(itertools.islice(demo.loader, args.rounds)):
        draws = step.draws()
        demo.joint(draws, number, factors(demo, 0.1))
        demo.optimizer.step(0.0)
        seconds += sum(batch.seconds for draw in draws for batches in draw.values() for batch in batches)
        if number == 0:  # starting the workers is not part of a step
            start, seconds, demo.loader.wait_seconds = time.perf_counter(), 0.0, 0.0
    elapsed = time.perf_counter() - start
    wait = demo.loader.wait_seconds / elapsed
    print(f"demo: {seconds / elapsed:.1f} s of audio per s on {torch.get_num_threads()} threads, {wait:.2%} waiting for data (bar 3 %)")


if __name__ == "__main__":
    main()
