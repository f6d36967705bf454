"""Turn a corpus into Kaldi data directories: mini, the downloaded parts of a public corpus, or your own recordings in tables (tsv).

The corpora: librispeech, aishell1, aishell2, covost2, tedlium2, mls, wenetspeech, debspeech, mini, tsv; and debtexts, text sets without
recordings, of sentences that the dev and test sets beside them do not have. All sets appear at the same time, when all of them are
complete. The summary shows utterances, hours, speakers and words per set beside the published counts; it names what was dropped and what
is missing.

The parts (--parts) are those of LibriSpeech (dev-clean), train, dev and test of AISHELL-1 and TED-LIUM 2, sets of AISHELL-2 and WenetSpeech
(dev_ios, train_m), languages of MLS and mini (german, en), pairs of CoVoST 2 (de_en), sources of debspeech (fillets), languages of debtexts
(zh), tables of tsv (train of train.tsv).

Example:
  python -m m2asr.bin.prepare mini --corpus corpus --out data
  python -m m2asr.bin.prepare librispeech --corpus /corpora/LibriSpeech --out data --parts train-clean-100 dev-clean test-clean
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, natural, run
from m2asr.config import nearest
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="prepare", description=__doc__)
    parser.add_argument("name", help="the corpus")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--parts", nargs="+", default=[], metavar="PART", help="parts to prepare; default or empty: all in --corpus")
    parser.add_argument("--max_bad", type=natural, default=0, help="utterances that may be dropped for a broken recording or transcript")
    args = parser.parse_args(argv)
    parts = " ".join(args.parts).split()  # a recipe passes several parts as a single argument

    from m2asr.corpora import CORPORA

    if args.name not in CORPORA:
        raise UserError(f"prepare: unknown corpus `{args.name}`; {nearest(args.name, CORPORA)}", exit_code=2)
    if not args.corpus.is_dir():
        raise UserError(f"--corpus {args.corpus}: no such folder; give the folder that holds the corpus")
    print(CORPORA[args.name](args.corpus, args.out, parts, args.max_bad))
    return 0


if __name__ == "__main__":
    run(main)
