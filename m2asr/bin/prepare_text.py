"""Make a text set, a data directory without audio, of plain text files with a sentence per line; gzip may have packed them.

The sentences are normalized as transcripts are. Dropped and counted are sentences that are too short, too long, or written in another
script, repeated ones, and those of held-out sets: name all dev and test sets in --without.

Example:
  python -m m2asr.bin.prepare_text news.txt.gz web.txt --lang zh --out data/text_zh --max 128 --without data/dev_zh data/test_zh
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, finite, natural, run


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="prepare_text", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="text files")
    parser.add_argument("--lang", required=True, help="language of the texts such as en or zh-CN")
    parser.add_argument("--out", type=Path, required=True, help="the text set, such as data/text_zh")
    parser.add_argument("--without", nargs="+", type=Path, default=[], metavar="data/<set>", help="sets whose sentences are left out")
    parser.add_argument("--min", type=natural, default=1, help="fewest words of a sentence, or characters in scripts without spaces")
    parser.add_argument("--max", type=natural, default=200, help="most words of a sentence, or characters in scripts without spaces")
    parser.add_argument("--foreign", type=finite, default=0.2, help="largest share of letters in scripts that LANG is not written in")
    args = parser.parse_args(argv)
    if not 1 <= args.min <= args.max:
        parser.error(f"--min {args.min} --max {args.max}: the first is at least 1, the second no less than the first")
    if not 0 <= args.foreign <= 1:
        parser.error(f"--foreign {args.foreign}: it is a share, from 0 to 1")

    from m2asr.corpora.text_files import Limits, prepare_texts
    from m2asr.text.language import CODE

    if not CODE.fullmatch(args.lang):
        parser.error(f"--lang {args.lang}: not a language code like en or zh-CN")
    print(prepare_texts(args.files, args.out, args.lang, args.without, Limits(args.min, args.max, args.foreign)))
    return 0


if __name__ == "__main__":
    run(main)
