"""Draw the plots of a run, which may still be training: losses, errors, accuracies, weights, gamma, cosines and conflicts.

Example:
  python -m m2asr.bin.plot --exp exp/m2asr
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="plot", description=__doc__)
    parser.add_argument("--exp", type=Path, required=True, help="folder of the run")
    args = parser.parse_args(argv)

    from m2asr.report.plots import draw

    paths = draw(args.exp)
    if not paths:
        raise UserError(f"{args.exp / 'train.jsonl'}: no training steps in it; give the folder of a run that has started as --exp")
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    run(main)
