"""Check a data directory: exit code 0 if it is clean, 1 if it has problems, 2 if it cannot be read.

Example:
  python -m m2asr.bin.validate data/train_en
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, finite, natural, run
from m2asr.config import FbankConfig, load_config
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="validate", description=__doc__)
    parser.add_argument("folder", type=Path, help="data directory")
    parser.add_argument("--config", help="YAML file (FbankConfig) of the features: recordings must have its sample rate or a higher one")
    parser.add_argument("--sample_rate", type=natural, help="sample rate of the features in Hz, if not that of --config or 16000")
    parser.add_argument("--no_wav", action="store_true", help="do not open the recordings")
    parser.add_argument("--no_text", action="store_true", help="utterances need no text")
    parser.add_argument("--tokens", type=Path, help="folder of a tokenizer; without it characters are counted")
    parser.add_argument("--subsampling", type=natural, default=4, help="frames per label of CTC: 4, or 2 with upsampling: 2")
    parser.add_argument("--frame_shift", type=finite, help="ms between frames, if not that of --config or 10")
    parser.add_argument("--keep_long_text", action="store_true", help="report, but accept, texts with more tokens than encoder states")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds")
    args = parser.parse_args(argv)
    for option in ("sample_rate", "subsampling", "frame_shift"):
        if (value := getattr(args, option)) is not None and value <= 0:
            raise UserError(f"validate: --{option} {value}: it must be above 0", exit_code=2)

    from m2asr.data.validate import validate

    options = {name: value for name in ("sample_rate", "frame_shift") if (value := getattr(args, name)) is not None}
    fbank = (load_config(FbankConfig, args.config) if args.config else FbankConfig()).model_copy(update=options)
    tokenize = tuple
    if args.tokens:
        from m2asr.text.tokenizer import Tokenizer

        tokenize = Tokenizer.load(args.tokens).encode
    report = validate(
        args.folder,
        fbank=fbank,
        audio=not args.no_wav,
        text=not args.no_text,
        allow_pipes=args.allow_pipes,
        subsampling=args.subsampling,
        tokenize=tokenize,
        keep_long_text=args.keep_long_text,
    )
    report.name_options(args.config, args.allow_pipes)
    print(report)
    return 0 if report.clean else 1


if __name__ == "__main__":
    run(main)
