"""Train a system by a config of streams, objectives, weighting and penalty. The same command continues a run that was stopped.

Examples:
  python -m m2asr.bin.train --config conf/train_m2asr.yaml --data data --dump dump --exp exp/m2asr --set train.epochs=20
  python -m m2asr.bin.train --config conf/train_m2asr.yaml --exp exp/m2asr --ngpu 4    # four GPUs of this machine
  torchrun --nnodes 2 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint HOST:29500 --max_restarts 3 \
    -m m2asr.bin.train --config conf/train_m2asr.yaml --exp exp/m2asr --ngpu 8         # on each of two machines that share exp/

batching.seconds counts the audio of a step. The processes of a run share each step out and get the same result as a single process.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from m2asr.bin.command import MOST_PROCESSES, Parser, natural, processes, run
from m2asr.config import load_config
from m2asr.errors import UserError
from m2asr.train.launch import launch, launched
from m2asr.train_config import Init, TrainConfig

if TYPE_CHECKING:
    from m2asr.moo.collectives import Collectives


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="train", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML file (TrainConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config, e.g. optim.lr.heads=1e-4")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="folder of the features")
    parser.add_argument("--exp", type=Path, required=True, help="folder of this run; it holds tokens/ where objectives need them")
    parser.add_argument(
        "--init_from",
        action="append",
        nargs="+",
        default=[],
        metavar=("MODEL", "OLD=NEW"),
        help="model.pt of another run to start from; OLD=NEW renames the beginnings of its parameter names (OLD= leaves them out, "
        "OLD=NEW,NEW2 copies to both); may be given several times (a stopped run resumes without it)",
    )
    parser.add_argument("--ngpu", type=natural, default=0, help="GPUs of this machine to train on, a process for each; 0 trains on the CPU")
    parser.add_argument("--nproc", default="1", help="processes that share out each step without GPUs; auto: a process per core")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds, with `features.source: audio`")
    parser.add_argument("--max_restarts", type=natural, default=3, help="how often processes that were killed are started again")
    parser.add_argument("--threads", type=processes, default=1, help="CPU threads of a training process; 0: its share of all cores")
    args = parser.parse_args(argv)
    nproc = len(os.sched_getaffinity(0)) if args.nproc == "auto" else int(args.nproc[:9]) if args.nproc.isdecimal() else 0
    if not 1 <= nproc <= MOST_PROCESSES:
        raise UserError(f"--nproc {args.nproc}: it is a number from 1 to {MOST_PROCESSES}, or auto", exit_code=2)
    if not launched():
        load_config(TrainConfig, args.config, args.set)  # mistakes in it are reported before any process is started
        world = args.ngpu or nproc
        if world > 1:
            from m2asr.train.distributed import check_gpus

            check_gpus(args.ngpu)
            return launch(world, "m2asr.bin.train", sys.argv[1:] if argv is None else argv, args.max_restarts)

    from m2asr.train.cpu import prepare_cpu
    from m2asr.train.distributed import joined

    prepare_cpu(args.threads)
    with joined(gpu=args.ngpu > 0) as group:
        train(args, group)
    return 0


def train(args: argparse.Namespace, group: Collectives) -> None:
    """Train as a process of a group."""

    from m2asr.objectives.build import resolve
    from m2asr.train.initialize import initialize, other_tokens
    from m2asr.train.materials import gather
    from m2asr.train.trainer import Trainer

    config = resolve(load_config(TrainConfig, args.config, args.set))
    with group.first_alone():  # the first process builds the indexes, the others read them
        materials = gather(config, args.data, args.dump, args.exp, args.allow_pipes)
    trainer = Trainer(config, materials, args.exp, "cuda" if args.ngpu else "cpu", group)
    print(trainer.describe())
    if trainer.resume():
        state = "already trained" if trainer.finished else "going on"
        print(f"{args.exp}: {state} after step {trainer.number} of about {trainer.total_steps}")
    elif args.init_from:
        sources = [source_of(*words) for words in args.init_from]
        lines = initialize(trainer.system, sources, trainer.options.seed, trainer.group)
        print("\n".join(lines + other_tokens(sources, args.exp / "tokens")))
    trainer.run()
    hours = trainer.audio_seconds / 3600
    print(f"{args.exp / 'model.pt'}: trained in {trainer.train_seconds:.0f} s, {trainer.number} steps, {hours:.2f} h of audio")


def source_of(path: str, *maps: str) -> Init:
    """The model and the renamings of an --init_from option. Raises UserError where a renaming is not OLD=NEW."""
    for text in maps:
        if text.count("=") != 1 or text.startswith("="):
            raise UserError(f"--init_from {path} {text}: write OLD=NEW, such as encoder.=router.", exit_code=2)
    pairs = dict(text.split("=") for text in maps)
    return Init(path=path, map={old: new.split(",") if new else None for old, new in pairs.items()})


if __name__ == "__main__":
    run(main)
