"""Train, decode and score every row of an ablation for several seeds under one budget, and compare them with the first row.

Started in the folder of a recipe; the same command goes on where it stopped. The table grows with every finished run. Started several
times, on one machine or on many that share the folder, the processes share the runs among them.

Examples:
  cd egs/mini && python -m m2asr.bin.ablate --config conf/ablation.yaml      # runs and table in exp/ablation
  python -m m2asr.bin.ablate --config conf/ablation.yaml --set hours=2       # in exp/ablation_2h
"""

from __future__ import annotations

import sys
from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import load_config
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="ablate", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML file (Ablation): hours, seeds, rows")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to it, e.g. hours=2 seeds=[1]")
    parser.add_argument("--expdir", type=Path, default=Path("exp"), help="runs go to EXPDIR/<name of the config>[_<other hours>h]")
    parser.add_argument("--decode", default="greedy", help="the search to be compared")
    parser.add_argument("--table", action="store_true", help="only write the table of what is finished")
    args = parser.parse_args(argv)

    from m2asr.files import lock
    from m2asr.score.comparison import write_comparison
    from m2asr.train.ablation import Ablation, call_recipe, changes, finished, jobs, run_job

    ablation = load_config(Ablation, args.config, args.set)
    name = args.config.stem
    if ablation.hours != load_config(Ablation, args.config).hours:  # runs of another budget are never mixed
        name += f"_{ablation.hours:g}h"
    folder, wanted = args.expdir / name, list(jobs(ablation))

    if told := changes(wanted, folder):
        if not args.table:
            raise UserError(told)
        print(f"warning: {told}; left out of the table", file=sys.stderr)
    if not args.table:
        with lock(args.expdir / ".data.lock", wait=True):
            call_recipe("--stop_stage", "fbank")
        for job in wanted:
            if not run_job(job, folder):
                print(f"== {job.tag}: another process is at it", flush=True)
            elif found := finished(wanted, folder):  # no row, where the first one is made of several runs
                write_comparison(folder, found, args.decode)
    print(write_comparison(folder, finished(wanted, folder), args.decode))
    return 0


if __name__ == "__main__":
    run(main)
