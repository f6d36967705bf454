"""Train a system: streams, objectives, weighting and penalty come from a config; a run that was stopped goes on by itself.

Example:
  python -m m2asr.bin.train --config conf/train_m2asr.yaml --data data --dump dump --exp exp/m2asr --set train.epochs=20
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import load_config
from m2asr.errors import UserError
from m2asr.train_config import TrainConfig


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="train", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML file (TrainConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config, e.g. optim.lr.heads=1e-4")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="folder of the features")
    parser.add_argument("--exp", type=Path, required=True, help="folder of this run; it holds tokens/ where objectives need them")
    parser.add_argument("--init_from", type=Path, help="model.pt of another run to start from (a stopped run resumes without it)")
    parser.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="0 trains on the CPU, 1 on the first GPU")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the main process, 0: all cores")
    args = parser.parse_args(argv)
    config = load_config(TrainConfig, args.config, args.set)

    import torch

    from m2asr.objectives.system import resolve
    from m2asr.train.initialize import initialize
    from m2asr.train.materials import gather
    from m2asr.train.trainer import Trainer

    if args.ngpu and not torch.cuda.is_available():
        raise UserError("--ngpu 1: no GPU is visible here; use --ngpu 0 to train on the CPU", exit_code=2)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = resolve(config)
    materials = gather(config, args.data, args.dump, args.exp)
    trainer = Trainer(config, materials, args.exp, "cuda" if args.ngpu else "cpu")
    print(trainer.describe())
    if trainer.resume():
        what = "already trained" if trainer.finished else "going on"
        print(f"{args.exp}: {what} after step {trainer.number} of about {trainer.total_steps}")
    elif args.init_from:
        print(initialize(trainer.system, args.init_from))
    trainer.run()
    hours = trainer.audio_seconds / 3600
    print(f"{args.exp / 'model.pt'}: trained in {trainer.train_seconds:.0f} s, {trainer.number} steps, {hours:.2f} h of audio")
    return 0


if __name__ == "__main__":
    run(main)
