"""Repair a data directory: sort it, drop utterances that cannot be used, write spk2utt again; the old files go to .backup/.

Exit code 0 if it is clean afterwards, 1 if it still has problems.

Example:
  python -m m2asr.bin.fix_data_dir data/train_en
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fix_data_dir", description=__doc__)
    parser.add_argument("folder", type=Path, help="data directory")
    parser.add_argument("--check_wav", action="store_true", help="read every recording; drop utterances whose recording is bad")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds")
    args = parser.parse_args(argv)

    from m2asr.data.fix import fix

    summary, report = fix(args.folder, args.check_wav, args.allow_pipes)
    print(summary)
    if not report.clean:
        print(report)
    return 0 if report.clean else 1


if __name__ == "__main__":
    run(main)
