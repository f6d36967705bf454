"""Mend a data directory: sort, drop what cannot be used, make spk2utt anew; the old files are kept in .backup/.

Example:
  python -m m2asr.bin.fix_data_dir data/train_en
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fix_data_dir", description=__doc__)
    parser.add_argument("folder", type=Path, help="data directory")
    args = parser.parse_args(argv)

    from m2asr.data.repair import fix

    print(fix(args.folder))
    return 0


if __name__ == "__main__":
    run(main)
