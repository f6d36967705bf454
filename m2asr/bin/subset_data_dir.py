"""Write some utterances of a data directory to another data directory.

Example:
  python -m m2asr.bin.subset_data_dir --first 100 data/train_en data/train_en_100
  python -m m2asr.bin.subset_data_dir --utt_list ids.txt data/train_en data/chosen
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, natural, run
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="subset_data_dir", description=__doc__)
    parser.add_argument("folder", type=Path, help="data directory")
    parser.add_argument("out", type=Path, help="data directory to write")
    parser.add_argument("--first", type=natural, help="the first N utterances")
    parser.add_argument("--utt_list", type=Path, help="file with an utterance id per line; the rest of a line is ignored")
    args = parser.parse_args(argv)
    if (args.first is None) == (args.utt_list is None):
        raise UserError("subset_data_dir: give either --first or --utt_list", exit_code=2)
    if args.first is not None and args.first < 1:
        raise UserError(f"subset_data_dir: --first {args.first}: at least one utterance", exit_code=2)

    from m2asr.data.directory import read_lines
    from m2asr.data.subset import subset

    selection = args.first if args.first else [key for _, key, _ in read_lines(args.utt_list)]
    print(f"{args.out}: {subset(args.folder, args.out, selection)} utterances")
    return 0


if __name__ == "__main__":
    run(main)
