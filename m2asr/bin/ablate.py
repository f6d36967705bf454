"""Train, decode and score every row of an ablation for several seeds under one budget, and compare them with the first row.

Start it in the folder of a recipe; the same command goes on where it stopped. The table grows with every finished run. One run per core
goes on at the same time, since a training takes one thread. Several machines that share the folder also share the runs.

Examples:
  cd egs/mini && python -m m2asr.bin.ablate --config conf/ablation.yaml      # runs and table in exp/ablation
  python -m m2asr.bin.ablate --config conf/ablation.yaml --set hours=2       # in exp/ablation_2h
  python -m m2asr.bin.ablate --config conf/ablation.yaml --table --archive ablation.tar.gz    # the table of runs of another machine
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from m2asr.bin.command import Parser, natural, run
from m2asr.config import load_config
from m2asr.errors import UserError
from m2asr.names import check_option


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="ablate", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML file (Ablation): hours, seeds, options, rows")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to it, e.g. hours=2 seeds=[1]")
    parser.add_argument("--expdir", type=Path, default=Path("exp"), help="runs go to EXPDIR/<name of the config>[_<other hours>h]")
    parser.add_argument("--decode", default="greedy", help="the search to be compared")
    parser.add_argument("--jobs", type=natural, default=0, help="runs at the same time; 0: one per core")
    parser.add_argument("--table", action="store_true", help="only write the table of what is finished")
    parser.add_argument("--archive", type=Path, help="a .tar.gz of finished runs without their models, to read and write")
    args = parser.parse_args(argv)
    check_option("--decode", args.decode)

    from m2asr.files import lock
    from m2asr.report.ablation import Ablation, call_recipe, config_changes, finished_runs, helper_processes, make_jobs, run_job
    from m2asr.report.run_archive import load_runs, save_runs
    from m2asr.score.comparison import write_comparison

    ablation = load_config(Ablation, args.config, args.set)
    name = args.config.stem
    if ablation.hours != load_config(Ablation, args.config).hours:  # runs of different budgets are never mixed
        name += f"_{ablation.hours:g}h"
    folder, jobs = args.expdir / name, list(make_jobs(ablation))

    if args.archive and args.archive.exists() and (loaded := load_runs(args.archive, folder)):
        print(f"== {len(loaded)} runs of {args.archive}", flush=True)
    if message := config_changes(jobs, folder):
        if not args.table:
            raise UserError(message)
        print(f"warning: {message}; left out of the table", file=sys.stderr)
    if not args.table:
        with lock(args.expdir / ".data.lock", wait=True):
            call_recipe("--stop_stage", "fbank", *ablation.recipe_options())
        helpers = min(args.jobs or len(os.sched_getaffinity(0)), len(jobs)) - 1
        arguments = sys.argv[1:] if argv is None else argv
        with helper_processes([*arguments, "--jobs", "1"], helpers, folder):
            for job in jobs:
                if not run_job(job, folder, ablation.recipe_options(without="train_config")):
                    print(f"== {job.tag}: another process trains it", flush=True)
                elif runs := finished_runs(jobs, folder):  # empty as long as the first row lacks one of its members
                    write_comparison(folder, runs, args.decode)
    print(write_comparison(folder, finished_runs(jobs, folder), args.decode))
    if args.archive:
        print(f"== {save_runs(folder, args.archive)} runs in {args.archive}", flush=True)
    return 0


if __name__ == "__main__":
    run(main)
