"""Join data directories.

Example:
  python -m m2asr.bin.combine_data data/train_all data/train_en data/train_it
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="combine_data", description=__doc__)
    parser.add_argument("out", type=Path, help="data directory to write")
    parser.add_argument("folders", type=Path, nargs="+", help="data directories to join")
    args = parser.parse_args(argv)

    from m2asr.data.combine import combine

    print(f"{args.out}: {combine(args.folders, args.out)} utterances")
    return 0


if __name__ == "__main__":
    run(main)
