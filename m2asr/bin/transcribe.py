"""Transcribe recordings of any length and format with a trained run: with times, as subtitles, and translated where the run can.

Example:
  python -m m2asr.bin.transcribe --exp exp/train_m2asr call.wav talk.mp3 folder/ --lang it --to en --format txt srt --out texts

Writes <out>/<name>.<format> per recording, and <name>.<language>.<format> of its translation; recordings of a folder keep their subfolders.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from m2asr.bin.command import Parser, add_device_options, finite, prepare_device, run
from m2asr.config import DecodeConfig, load_config


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    search = load_config(DecodeConfig, args.config, args.set) if args.config else args.search

    from m2asr.decode.transcribe import collect, transcribe
    from m2asr.decode.transcriber import Transcriber

    recordings, problems = collect(args.recordings)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not recordings:
        return 1
    options = {"cut": args.cut, "longest": args.longest, "pause": args.pause, "channels": args.channels}
    transcriber = Transcriber(args.exp, search, **options, device=prepare_device(args.ngpu, args.threads))
    if args.cut == "auto" and transcriber.cut == "windows":
        print("cut into windows; silero-vad cuts at pauses, which is better: pip install silero-vad", file=sys.stderr)
    failed = len(problems) + len(transcribe(transcriber, recordings, args.out, args.format, args.lang, args.to))
    if failed:
        print(f"{failed} of {len(problems) + len(recordings)} could not be transcribed to their end, see above", file=sys.stderr)
    return 1 if failed else 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = Parser(prog="transcribe", description=__doc__)
    parser.add_argument("recordings", nargs="+", type=Path, help="recordings, and folders of them")
    parser.add_argument("--exp", type=Path, required=True, help="folder of the trained run")
    parser.add_argument("--lang", help="language of all recordings; without it the run's langid objective recognizes it for each")
    parser.add_argument("--to", help="language to translate into too")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder to write to (default: the current folder)")
    parser.add_argument("--format", nargs="+", default=["txt", "json"], choices=["txt", "json", "srt", "vtt", "ctm"], help="formats")
    parser.add_argument("--search", help="a search of stage 5, with the numbers that it chose; default: the last with a language model")
    parser.add_argument("--config", help="YAML file (DecodeConfig) of a search instead, without lists of numbers")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to that config, e.g. beam=20")
    parser.add_argument("--channels", choices=["mix", "each"], default="mix", help="mix the channels, or transcribe each channel alone")
    parser.add_argument("--cut", choices=["auto", "pauses", "windows"], default="auto", help="where to cut; auto: pauses with silero-vad")
    parser.add_argument("--longest", type=finite, default=25.0, help="most seconds that are recognized at once")
    parser.add_argument("--pause", type=finite, default=0.5, help="shortest silence in seconds at which speech is cut")
    add_device_options(parser)
    args = parser.parse_args(argv)
    if args.longest < 2 or args.pause <= 0:
        parser.error("--longest is at least 2 seconds, --pause above 0")
    if args.search and args.config:
        parser.error("--search names a search of stage 5, --config gives another search; give only one of them")
    if args.set and not args.config:
        parser.error("--set changes a decode config; give it with --config")
    return args


if __name__ == "__main__":
    run(main)
