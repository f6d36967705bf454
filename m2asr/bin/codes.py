"""Write text.codes into data directories: pseudo-codes of their speech, as texts that a decoder can learn to write.

The states of a trained run at a tap are averaged over neighbours and clustered by k-means; the codes of an utterance are its clusters
without repeats, c017 c004 ... (Wu et al. 2022, Wav2Seq). The report tells how many clusters are used and how many codes a second has. The
codebook is kept, so that further sets get the same codes. A tokenizer of the type `codes` makes tokens of frequent sequences.

Example:
  python -m m2asr.bin.codes data/train_zh data/dev_zh --exp exp/pretrain --tap block6 --clusters 500 --train_sets data/train_zh
  python -m m2asr.bin.codes data/more_zh --exp exp/pretrain --codebook exp/pretrain/codes/codebook.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

from m2asr.bin.command import Parser, add_device_options, prepare_device, run

LEARN = {"tap": "output", "pool": 2, "clusters": 500, "train_sets": None, "share": 1.0, "passes": 1, "seed": 1, "out": None}


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)

    from m2asr.data.streams import BadUtterances
    from m2asr.decode.code_purity import Purity
    from m2asr.decode.codebook import Codebook
    from m2asr.decode.codes import Speech, learn_codebook, write_codes
    from m2asr.decode.pooled_states import PooledStates
    from m2asr.decode.trained import check_languages

    bad = BadUtterances(args.max_bad, "--max_bad")
    codebook = Codebook.load(args.codebook) if args.codebook else None
    tap, pool = (codebook.tap, codebook.pool) if codebook else (args.tap, args.pool)
    reader = PooledStates(args.exp, tap, pool, prepare_device(args.ngpu, args.threads))
    if codebook:
        codebook.check(reader, args.codebook)
    folders = [*args.folders, *(args.train_sets or [])]
    sets = {folder: Speech.open(folder, args.dump, args.exp, args.batch_seconds, args.allow_pipes) for folder in folders}
    for folder, speech in sets.items():
        check_languages(reader.system, folder, speech.index)
    if codebook is None:
        training = [sets[folder] for folder in args.train_sets or args.folders]
        codebook = learn_codebook(training, reader, args.clusters, args.share, args.passes, args.seed, bad)
        path = args.out or args.exp / "codes/codebook.npz"
        codebook.save(path)
        print(f"{path}: {args.clusters} clusters of {tap}, {pool} states each, from {', '.join(speech.index.name for speech in training)}")
    for folder in args.folders:
        alignment = args.align and args.align / sets[folder].index.name / "tokens.ctm"
        purity = Purity(alignment) if alignment and alignment.is_file() else None
        print(write_codes(sets[folder], reader, codebook, bad, purity))
        if alignment:
            print(f"  {purity or f'purity: unknown, as there is no {alignment}'}")
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = Parser(prog="codes", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="data/<set>", help="data directories")
    parser.add_argument("--exp", type=Path, required=True, help="folder of the trained run whose states are clustered")
    parser.add_argument("--dump", type=Path, help="folder of stored features; without it they are computed from the recordings")
    parser.add_argument("--codebook", type=Path, help="a codebook of this run, instead of the options up to --out, which learn one")
    parser.add_argument("--tap", help="states to cluster: frontend, block1, block2 ... or output (default: output)")
    parser.add_argument("--pool", type=int, help="states that are averaged (default: 2)")
    parser.add_argument("--clusters", type=int, help="number of clusters (default: 500)")
    parser.add_argument("--train_sets", nargs="+", type=Path, help="data directories to learn the codebook from (default: all)")
    parser.add_argument("--share", type=float, help="share of their utterances to learn from (default: 1)")
    parser.add_argument("--passes", type=int, help="how often they are read (default: 1)")
    parser.add_argument("--seed", type=int, help="decides the order of utterances and the first clusters (default: 1)")
    parser.add_argument("--out", type=Path, help="file of the new codebook (default: <exp>/codes/codebook.npz)")
    parser.add_argument("--align", type=Path, help="folder with <set>/tokens.ctm, times of phones or letters, to measure purity")
    parser.add_argument("--batch_seconds", type=float, default=120.0, help="seconds of audio that are encoded together")
    parser.add_argument("--max_bad", type=int, default=0, help="unreadable utterances that are tolerated")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds")
    add_device_options(parser)
    args = parser.parse_args(argv)
    given = [name for name in LEARN if getattr(args, name) is not None]
    if args.codebook and given:
        parser.error(f"--{given[0]} is for a new codebook, and --codebook gives one; leave one of them out")
    for name, default in LEARN.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    for name, least in (("pool", 1), ("clusters", 2), ("passes", 1), ("seed", 0), ("max_bad", 0)):
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: it must be at least {least}")
    if not 0 < args.share <= 1:
        parser.error(f"--share {args.share:g}: it must be above 0 and at most 1")
    if args.batch_seconds <= 0:
        parser.error(f"--batch_seconds {args.batch_seconds:g}: it must be above 0")
    return args


if __name__ == "__main__":
    run(main)
