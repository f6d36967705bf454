"""Tell when the words and tokens of known texts are said, and which texts do not fit their audio, by CTC alignment.

Example:
  python -m m2asr.bin.align data/test_en data/test_it --exp exp/train_m2asr --dump dump
  python -m m2asr.bin.align --audio call.wav --text "please hold the line" --lang en --exp exp/train_m2asr --out aligned

Writes <out>/<set>/: words.ctm and tokens.ctm (utterance, channel, start, duration, word, confidence), textgrid/<utterance>.TextGrid,
and `scores`: the utterances by the mean log-probability of a state, the worst first, where wrong texts are found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from m2asr.bin.command import Parser, run

if TYPE_CHECKING:
    from m2asr.decode.align import Aligned

SHOWN = 20  # utterances without an alignment that are named before the rest is only counted


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="align", description=__doc__)
    parser.add_argument("data", nargs="*", type=Path, help="data directories with a `text`")
    parser.add_argument("--audio", type=Path, help="one recording instead of data directories, with --text and --lang")
    parser.add_argument("--text", help="what is said in it")
    parser.add_argument("--lang", help="its language")
    parser.add_argument("--exp", type=Path, required=True, help="folder of the trained run")
    parser.add_argument("--dump", type=Path, help="folder of stored features; without it they are computed from the recordings")
    parser.add_argument("--out", type=Path, help="folder to write to (default: <exp>/align)")
    parser.add_argument("--format", nargs="+", default=["ctm", "textgrid"], choices=["ctm", "textgrid"], help="what to write beside scores")
    parser.add_argument("--worst", type=int, default=5, help="how many utterances with the worst scores to print")
    parser.add_argument("--batch_seconds", type=float, default=120.0, help="audio that is encoded together")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds")
    parser.add_argument("--ngpu", type=int, default=0, help="0 aligns on the CPU, more on the first GPU")
    args = parser.parse_args(argv)
    if bool(args.data) == bool(args.audio):
        parser.error("give either data directories or --audio")
    if args.audio and (args.text is None or args.lang is None):
        parser.error("--audio needs --text and --lang")
    if args.data and (args.text is not None or args.lang is not None):
        parser.error("--text and --lang belong to --audio; data directories have `text` and utt2lang")
    if args.batch_seconds <= 0:
        parser.error("--batch_seconds is a number above 0")

    from m2asr.decode.align import Aligner
    from m2asr.decode.aligned_files import write_aligned

    aligner = Aligner(args.exp, "cuda" if args.ngpu else "cpu")
    out = args.out or args.exp / "align"
    if args.audio:
        result = aligner.recording(args.audio, args.text, args.lang)
        found = write_aligned(out / result.utt, [result], args.format)
        for word in result.words:
            print(f"{word.start:8.2f} {word.end:8.2f}  {word.confidence:.2f}  {word.text}")
        return _tell(out / result.utt, found, 0)
    failed = 0
    for folder in args.data:
        index, feats, fbank = _open(folder, args.dump, args.exp, args.allow_pipes)
        results = aligner.align_set(index, feats, fbank, args.batch_seconds)
        found = write_aligned(out / index.name, _progress(results, index.name, len(index)), args.format)
        failed |= _tell(out / index.name, found, args.worst)
    return failed


def _open(folder: Path, dump: Path | None, exp: Path, allow_pipes: bool) -> tuple:
    from m2asr.data.feats import AudioFeats, StoredFeats
    from m2asr.data.index import UtteranceIndex
    from m2asr.train.initialize import trained_fbank
    from m2asr.train.materials import fbank_config, open_set

    folder = folder if folder.name else folder.resolve()
    if dump is not None:
        return open_set(folder.name, folder.parent, dump), StoredFeats(), fbank_config(dump, [folder.name])
    fbank = trained_fbank(exp)
    return UtteranceIndex(folder, allow_pipes=allow_pipes), AudioFeats(fbank), fbank


def _progress(results: Iterable[Aligned], name: str, count: int) -> Iterator[Aligned]:
    from tqdm import tqdm

    from m2asr.progress import visible

    return iter(tqdm(results, total=count, desc=f"align {name}", unit="utt", disable=not visible()))


def _tell(out: Path, found: list[Aligned], worst: int) -> int:
    """Print what was written; returns the exit code."""
    problems = [one for one in found if one.problem]
    scored = found[len(problems) :]
    for one in problems[:SHOWN]:
        print(f"not aligned: {one.utt}: {one.problem}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"not aligned: {len(problems) - SHOWN} more, see {out / 'unaligned'}", file=sys.stderr)
    mean = f", mean score {sum(one.score for one in scored) / len(scored):.3f}" if scored else ""
    print(f"{out}: {len(scored)} of {len(found)} utterances aligned{mean}")
    if worst > 0 and len(scored) > 1:
        print(f"the worst of {out / 'scores'}, whose texts fit their audio least:")
        for one in scored[:worst]:
            print(f"  {one.score:8.3f}  {one.utt}  {one.text}")
    return 1 if problems else 0


if __name__ == "__main__":
    run(main)
