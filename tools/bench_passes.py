"""Times a step of several objectives against the sum of its passes apart: those of groups of objectives that are trained alone.

All read the same batches and take turns; optimizers are not part of it. What a step costs above the sum is
the work of joining objectives. Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens --train_config ...). From the root of the
repository:
  python tools/bench_passes.py
  python tools/bench_passes.py --config conf/train_just.yaml --exp exp/train_just --groups asr contrastive+mlm --rounds 40
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from m2asr.train.cpu import prepare_cpu

MOST = 1.15  # most time of the step, as a multiple of the sum


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("conf/train_just.yaml"), help="inside egs/mini")
    parser.add_argument("--exp", type=Path, default=Path("exp/train_just"), help="run whose tokens/ are used, inside egs/mini")
    parser.add_argument("--groups", nargs="+", default=["asr", "contrastive+mlm"], help="objectives that are trained together")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    prepare_cpu(args.threads)
    import steps
    from m2asr.config import load_config
    from m2asr.train_config import TrainConfig

    steps.enter_mini(parser, args.config, args.exp)
    config = load_config(TrainConfig, args.config)
    phases = {"together": steps.Case().phase(["train.conflicts=false"], args.exp, "cpu")}
    for group in args.groups:
        changes = alone(config.model_dump(exclude_none=True), group.split("+"))
        phases[group] = steps.Case().phase(["train.conflicts=false", *changes], args.exp, "cpu")
    runs: dict[str, Callable] = {name: gradients(phase) for name, phase in phases.items()}
    times = steps.take_turns(runs, steps.batches_of(phases["together"], args.rounds), args.rounds)
    for name, values in times.items():
        print(f"{name:20} {steps.milliseconds(values)}")
    sums = [sum(values) for values in zip(*(times[group] for group in args.groups), strict=True)]
    share = statistics.median(whole / total for whole, total in zip(times["together"], sums, strict=True))
    print(f"{args.config}: a step takes {share:.2f} of the sum of its passes (at most {MOST}: {'ok' if share <= MOST else 'MISSED'})")


def alone(config: dict[str, Any], names: Sequence[str]) -> list[str]:
    """The changes to a config that leave these objectives alone, with the modules that they name."""
    kept = {value for name in names for value in leaves(config["objectives"][name])} | {"encoder", "cmvn", "specaugment"}
    sections = {"objectives": names, "model": [name for name in config["model"] if name in kept]}
    changes = [f"{key}={json.dumps({name: config[key][name] for name in some})}" for key, some in sections.items()]
    return ["weighting=static", *changes]


def leaves(section: Any) -> Iterator[Any]:
    """All values within a section."""
    if isinstance(section, dict):
        for value in section.values():
            yield from leaves(value)
    else:
        yield section


def gradients(phase: Any) -> Callable:
    """A function that computes the gradients of a step."""

    def run(draws: Sequence, _: int) -> None:
        outcome = phase.gradients(draws, 0.0, 0)
        if outcome.problem:
            raise RuntimeError(outcome.problem)

    return run


if __name__ == "__main__":
    main()
