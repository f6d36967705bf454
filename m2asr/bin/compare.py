"""Compare scored runs with the first of them: error rates, chrF and paired 95 % intervals. Runs under the same name are seeds of a row.

Example:
  python -m m2asr.bin.compare supervised=exp/train_supervised m2asr=exp/train_m2asr m2asr=exp/train_m2asr_seed2
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.errors import UserError
from m2asr.names import check_option


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="compare", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER", help="name of a row of the table, and the folder of a run")
    parser.add_argument("--decode", default="greedy", help="name of the search to compare: the folder decode_<name> of each run")
    parser.add_argument("--objectives", nargs="+", default=[], metavar="NAME", help="objectives whose scores are compared; default: all")
    args = parser.parse_args(argv)
    check_option("--decode", args.decode)
    rows: dict[str, list[list[Path]]] = {}
    for argument in args.runs:
        name, equals, folder = argument.partition("=")
        if not name or not equals or not folder:
            raise UserError(f"{argument}: write NAME=FOLDER, e.g. m2asr=exp/train_m2asr", exit_code=2)
        rows.setdefault(name, []).append([Path(folder)])

    from m2asr.score.compare import read_system, table

    print(table([read_system(name, folders, args.decode, args.objectives) for name, folders in rows.items()]))
    return 0


if __name__ == "__main__":
    run(main)
