"""Times the steps of a config with experts against those of its dense base with the same losses: gradients, clipping and update.

All sides take the same batches in turns. Besides the whole config there are its parts: without the embedding network, and without the
balance of the experts. CPU time with --cpu_time, for a machine with other work. Needs stages 0 to 2 of egs/mini
(./run.sh --stop_stage tokens --train_config conf/train_3m.yaml). From the root of the repository:
  python tools/bench_expert_step.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from m2asr.train.cpu import prepare_cpu

MOST = 1.25  # most time of a step, as a multiple of the base's
EMBEDDING = ["model.encoder.experts.embedding=null", "model.sounds=null", "objectives.sounds_ctc=null"]
SIDES = {
    "base": ["model.encoder.experts=null", "objectives.balance=null", *EMBEDDING[1:]],
    "all": [],
    "no embedding": EMBEDDING,
    "experts alone": [*EMBEDDING, "objectives.balance=null"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("conf/train_3m.yaml"), help="inside egs/mini")
    parser.add_argument("--exp", type=Path, default=Path("exp/train_3m"), help="run whose tokens/ are used, inside egs/mini")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu_time", action="store_true", help="compare CPU time instead of time")
    args = parser.parse_args()
    prepare_cpu(args.threads)
    import steps

    steps.enter_mini(parser, args.config, args.exp)
    phases = {name: steps.Case().phase([*args.set, *changes], args.exp, "cpu") for name, changes in SIDES.items()}
    batches = steps.batches_of(phases["all"], args.rounds)
    runs = {name: steps.training_step(phase) for name, phase in phases.items()}
    times = steps.take_turns(runs, batches, args.rounds, time.process_time if args.cpu_time else time.perf_counter)
    for name, values in times.items():
        print(f"{name:14} {steps.milliseconds(values)}  {steps.ratio(values, times['base']):.2f} of the base")
    share = steps.ratio(times["all"], times["base"])
    print(f"{args.config}: a step takes {share:.2f} of that of its dense base (at most {MOST}: {'ok' if share <= MOST else 'MISSED'})")


if __name__ == "__main__":
    main()
