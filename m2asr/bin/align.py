"""Find the times of words and tokens of known texts by CTC alignment, and the texts that do not fit their audio.

Example:
  python -m m2asr.bin.align data/test_en data/test_it --exp exp/train_m2asr --dump dump
  python -m m2asr.bin.align --audio call.wav --text "please hold the line" --lang en --exp exp/train_m2asr --out aligned

Writes <out>/<set>/: words.ctm and tokens.ctm (utterance, channel, start, duration, word, confidence), textgrid/<utterance>.TextGrid,
and `scores`: the utterances by the mean log-probability of an encoder state, the worst first. Wrong texts stand at its top.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from m2asr.bin.command import Parser, add_device_options, finite, natural, prepare_device, run

if TYPE_CHECKING:
    from m2asr.decode.align import Aligned

SHOWN = 20  # utterances without an alignment that are named; of more, the number is told


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="align", description=__doc__)
    parser.add_argument("data", nargs="*", type=Path, help="data directories with a `text`")
    parser.add_argument("--audio", type=Path, help="a recording instead of data directories, with --text and --lang")
    parser.add_argument("--text", help="the text of the recording")
    parser.add_argument("--lang", help="the language of the recording")
    parser.add_argument("--exp", type=Path, required=True, help="folder of the trained run")
    parser.add_argument("--dump", type=Path, help="folder of stored features; without it they are computed from the recordings")
    parser.add_argument("--out", type=Path, help="folder to write to (default: <exp>/align)")
    parser.add_argument("--format", nargs="+", default=["ctm", "textgrid"], choices=["ctm", "textgrid"], help="files beside scores")
    parser.add_argument("--worst", type=natural, default=5, help="how many utterances with the worst scores to print")
    parser.add_argument("--batch_seconds", type=finite, default=120.0, help="seconds of audio that are encoded together")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds")
    add_device_options(parser)
    args = parser.parse_args(argv)
    if bool(args.data) == bool(args.audio):
        parser.error("give either data directories or --audio")
    if args.audio and (args.text is None or args.lang is None):
        parser.error("--audio needs --text and --lang")
    if args.data and (args.text is not None or args.lang is not None):
        parser.error("--text and --lang belong to --audio; data directories have `text` and utt2lang")
    if args.batch_seconds <= 0:
        parser.error(f"--batch_seconds {args.batch_seconds:g}: it must be above 0")

    from m2asr.decode.align import Aligner
    from m2asr.decode.aligned_files import write_aligned
    from m2asr.decode.trained import open_features

    aligner = Aligner(args.exp, prepare_device(args.ngpu, args.threads))
    out = args.out or args.exp / "align"
    if args.audio:
        result = aligner.recording(args.audio, args.text, args.lang)
        written = write_aligned(out / result.utt, [result], args.format)
        for word in result.words:
            print(f"{word.start:8.2f} {word.end:8.2f}  {word.confidence:.2f}  {word.text}")
        return _report(out / result.utt, written, 0)
    failed = 0
    for folder in args.data:
        index, feats, fbank = open_features(folder, args.dump, args.exp, args.allow_pipes)
        results = aligner.align_set(index, feats, fbank, args.batch_seconds)
        written = write_aligned(out / index.name, _progress(results, index.name, len(index)), args.format)
        failed |= _report(out / index.name, written, args.worst)
    return failed


def _progress(results: Iterable[Aligned], name: str, count: int) -> Iterator[Aligned]:
    from tqdm import tqdm

    from m2asr.progress import visible

    return iter(tqdm(results, total=count, desc=f"align {name}", unit="utt", disable=not visible()))


def _report(out: Path, results: list[Aligned], worst: int) -> int:
    """Print problems, the mean score and the `worst` utterances of a set, whose problems stand first; returns the exit code."""
    problems = [result for result in results if result.problem]
    aligned = results[len(problems) :]
    for result in problems[:SHOWN]:
        print(f"not aligned: {result.utt}: {result.problem}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"not aligned: {len(problems) - SHOWN} more, see {out / 'unaligned'}", file=sys.stderr)
    mean = f", mean score {sum(result.score for result in aligned) / len(aligned):.3f}" if aligned else ""
    print(f"{out}: {len(aligned)} of {len(results)} utterances aligned{mean}")
    if worst > 0 and len(aligned) > 1:
        print(f"the worst of {out / 'scores'}, whose texts fit their audio least:")
        for result in aligned[:worst]:
            print(f"  {result.score:8.3f}  {result.utt}  {result.text}")
    return 1 if problems else 0


if __name__ == "__main__":
    run(main)
