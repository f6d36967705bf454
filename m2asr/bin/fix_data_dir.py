"""Repair a data directory: sort it, drop utterances that cannot be used, write spk2utt again; the old files go to .backup/.

A data directory of another toolkit gets the files that this one needs: utt2dur of its recordings or segments, and utt2lang with --lang.

Exit code 0 if it is clean afterwards, 1 if it still has problems.

Example:
  python -m m2asr.bin.fix_data_dir data/train_en
  python -m m2asr.bin.fix_data_dir --lang en --check_wav --config conf/fbank.yaml data/from_kaldi
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import FbankConfig, load_config
from m2asr.text.language import CODE


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fix_data_dir", description=__doc__)
    parser.add_argument("folder", type=Path, help="data directory")
    parser.add_argument("--check_wav", action="store_true", help="read every recording; drop utterances whose recording is bad")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds")
    parser.add_argument("--lang", metavar="CODE", help="language of the utterances that utt2lang lacks, such as en or zh-CN")
    parser.add_argument("--config", help="YAML file (FbankConfig) of the features; --check_wav drops what they cannot be computed of")
    args = parser.parse_args(argv)
    if args.lang and not CODE.fullmatch(args.lang):
        parser.error(f"--lang {args.lang}: not a language code like en or zh-CN")

    from m2asr.data.fix import fix

    fbank = load_config(FbankConfig, args.config) if args.config else None
    summary, report = fix(args.folder, args.check_wav, args.allow_pipes, args.lang, fbank)
    print(summary)
    report.name_options(args.config, args.allow_pipes)
    if not report.clean:
        print(report)
    return 0 if report.clean else 1


if __name__ == "__main__":
    run(main)
