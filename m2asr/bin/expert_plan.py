"""Compute the memory and the traffic of a training with experts, replicated in all processes or spread over them; nothing is trained.

Example:
  python -m m2asr.bin.expert_plan --config conf/train_3m.yaml --set model.encoder.experts.count=64 --processes 8
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, natural, run
from m2asr.config import load_config
from m2asr.train_config import TrainConfig


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="expert_plan", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the training (TrainConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to it")
    parser.add_argument("--processes", type=natural, default=8, help="GPUs, or processes on CPUs")
    parser.add_argument("--vocab", type=natural, default=5000, help="tokens of a tokenizer without a size in the config")
    args = parser.parse_args(argv)
    for name in ("processes", "vocab"):
        if getattr(args, name) < 1:
            parser.error(f"--{name}: give a number from 1")

    from m2asr.report.expert_plan import plan_experts

    print(plan_experts(load_config(TrainConfig, args.config, args.set), args.processes, args.vocab), end="")
    return 0


if __name__ == "__main__":
    run(main)
