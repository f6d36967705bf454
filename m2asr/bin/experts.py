"""Report how a trained system uses its experts: load and entropy of every router, and the share of each expert in each language.

Writes experts/experts.json and the heat map experts/experts.png into the folder of the run.

Example:
  python -m m2asr.bin.experts exp/train_3m
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, add_device_options, prepare_device, run
from m2asr.names import check_option


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="experts", description=__doc__)
    parser.add_argument("exp", type=Path, help="folder of the trained run")
    parser.add_argument("--sets", nargs="+", help="sets to measure, folders of --data; by default the dev sets of the run")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="folder of the features")
    add_device_options(parser)
    args = parser.parse_args(argv)

    check_option("--sets", *(args.sets or []))

    from m2asr.decode.expert_use import expert_use
    from m2asr.decode.trained import Trained
    from m2asr.errors import UserError
    from m2asr.report.experts import write_report

    trained = Trained.load(args.exp, args.data, args.dump, prepare_device(args.ngpu, args.threads))
    sets = args.sets or list(dict.fromkeys(name for stream in trained.config.streams.values() for name in stream.dev))
    if not sets:
        raise UserError(f"{args.exp}: the run has no dev sets; name sets with --sets")
    print(write_report(expert_use(trained, sets), args.exp), end="")
    return 0


if __name__ == "__main__":
    run(main)
