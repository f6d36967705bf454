"""Average the parameters of a run's best epochs into its model.pt, as training does at its end.

Example:
  python -m m2asr.bin.average --exp exp/m2asr --n 3
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, natural, run


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="average", description=__doc__)
    parser.add_argument("--exp", type=Path, required=True, help="folder of the run")
    parser.add_argument("--n", type=natural, default=5, help="how many epochs, at most train.average_best; default 5")
    args = parser.parse_args(argv)

    from m2asr.train.average import average_best

    for epoch, score in average_best(args.exp, args.n).items():
        print(f"epoch {epoch}: score {score:.4f}")
    print(f"{args.exp / 'model.pt'}: the mean of {args.n} epochs")
    return 0


if __name__ == "__main__":
    run(main)
