"""Turn a corpus into Kaldi data directories.

Example:
  python -m m2asr.bin.prepare mini --corpus corpus --out data
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import nearest
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="prepare", description=__doc__)
    parser.add_argument("name", help="the corpus")
    parser.add_argument("--corpus", type=Path, required=True, help="its folder")
    parser.add_argument("--out", type=Path, default=Path("data"), help="where the data directories go")
    args = parser.parse_args(argv)

    from m2asr.corpora import CORPORA

    if args.name not in CORPORA:
        raise UserError(f"prepare: unknown corpus `{args.name}`; {nearest(args.name, CORPORA)}", exit_code=2)
    if not args.corpus.is_dir():
        raise UserError(f"--corpus {args.corpus}: no such folder; give the folder that holds the corpus")
    print(CORPORA[args.name](args.corpus, args.out))
    return 0


if __name__ == "__main__":
    run(main)
