"""Download a public corpus, check it and extract it.

The corpora: librispeech, aishell1, tedlium2, mls, covost2 (its tables), debspeech, debtexts (books and sayings), and librispeech_lm, the
language models and the text that were published with LibriSpeech. An interrupted download goes on with the same command, and finished
files are not fetched again. Files are checked against published checksums. Where none is published, the checksum of the first download is
stored beside the file. aishell2, wenetspeech and commonvoice are given out on application: the command tells where.

The parts (--parts) are those of LibriSpeech (dev-clean), languages of MLS as FLAC or Opus (italian, italian_opus), pairs of CoVoST 2
(fr_en), sources of debspeech (fillets), languages of debtexts (zh), files of librispeech_lm (3-gram, text). The packages of debspeech and
debtexts come through apt-get (of Debian 12; run apt-get update first) and pip.

Example:
  python -m m2asr.bin.download librispeech --out /corpora --parts train-clean-100 dev-clean dev-other test-clean test-other
  python -m m2asr.bin.download librispeech_lm --out downloads --parts 3-gram-medium 4-gram
  python -m m2asr.bin.download librispeech --out /corpora --mirror https://openslr.elda.org/resources/12
  python -m m2asr.bin.download debspeech --out downloads --parts fillets drascula --mirror file:///media/debian
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import nearest
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="download", description=__doc__)
    parser.add_argument("name", help="the corpus")
    parser.add_argument("--out", type=Path, default=Path("downloads"), help="folder of the downloaded files")
    parser.add_argument("--parts", nargs="+", default=[], metavar="PART", help="parts to fetch; default or empty, except for mls: all")
    parser.add_argument("--mirror", help="address of the archives; for debspeech, of a Debian mirror that holds pool/")
    parser.add_argument("--remove_archives", action="store_true", help="remove the archives when they are extracted")
    args = parser.parse_args(argv)
    parts = " ".join(args.parts).split()  # a recipe passes several parts as a single argument

    from m2asr.corpora import DOWNLOADS, ON_APPLICATION

    if args.name in ON_APPLICATION:
        raise UserError(f"download {args.name}: {ON_APPLICATION[args.name]}")
    if args.name not in DOWNLOADS:
        raise UserError(f"download: cannot download `{args.name}`; {nearest(args.name, [*DOWNLOADS, *ON_APPLICATION])}", exit_code=2)
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: it is no folder; give the path of a folder")
    if args.mirror and not args.mirror.startswith(("http://", "https://", "file://")):
        raise UserError(f"--mirror {args.mirror}: it must begin with http://, https:// or file://", exit_code=2)
    print(DOWNLOADS[args.name](args.out, parts, args.mirror, args.remove_archives))
    return 0


if __name__ == "__main__":
    run(main)
