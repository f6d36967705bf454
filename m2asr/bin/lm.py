"""Estimate an n-gram language model from texts, or convert a model from an ARPA file.

Texts are data directories, text sets, or files with a sentence per line, plain or compressed by gzip. The folder --out then holds the model
as lm.arpa, which other toolkits read, and as lm.bin, which decoding maps into memory. Perplexities count the ends of sentences as words.

Example:
  python -m m2asr.bin.lm --text data/train_en --tokens exp/m2asr/tokens/en --order 6 --dev data/dev_en --out exp/lm_en
  python -m m2asr.bin.lm --text books.txt.gz data/train_en --words --order 4 --prune 0 0 1 --out exp/lm_words
  python -m m2asr.bin.lm --arpa 3-gram.arpa.gz --dev data/dev_en --out exp/lm_published
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, finite, natural, run
from m2asr.names import RULES, is_text_name

PRUNE = "leave out n-grams that occur at most COUNT times; a count per order, the last for all higher orders, e.g. 0 0 1"
THRESHOLD = "leave out n-grams whose removal raises the perplexity by a smaller share than this, e.g. 1e-8"


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="lm", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", type=Path, nargs="+", help="data directories, text sets or files to estimate a model from")
    source.add_argument("--arpa", type=Path, help="ARPA file to convert, plain or compressed by gzip")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    unit = parser.add_mutually_exclusive_group()
    unit.add_argument("--tokens", type=Path, help="folder of the tokenizer whose tokens are modelled")
    unit.add_argument("--words", action="store_true", help="model words, split at spaces")
    parser.add_argument("--column", default="text", help="table of the data directories, e.g. text.en for translations into English")
    parser.add_argument("--order", type=natural, help="longest n-grams, 1 to 10 (6 for tokens, 3 for words)")
    parser.add_argument("--prune", type=natural, nargs="+", default=[0], metavar="COUNT", help=PRUNE)
    parser.add_argument("--threshold", type=finite, default=0.0, help=THRESHOLD)
    parser.add_argument("--every", type=natural, default=1, metavar="N", help="read only every N-th line of --text")
    parser.add_argument("--dev", type=Path, nargs="*", default=[], help="texts whose perplexity is printed")
    parser.add_argument("--gzip", action="store_true", help="compress the ARPA file: lm.arpa.gz")
    args = parser.parse_args(argv)
    if not is_text_name(args.column):
        parser.error(f"--column {args.column}: {RULES[is_text_name]}")
    if args.text and not (args.tokens or args.words):
        parser.error("--text needs --tokens DIR or --words")
    if args.arpa and (args.order is not None or args.prune != [0] or args.threshold or args.every != 1 or args.gzip):
        parser.error("--arpa converts a model as it is; --order, --prune, --threshold, --every and --gzip are for --text")
    if args.order is None:
        args.order = 6 if args.tokens else 3
    if not 1 <= args.order <= 10:
        parser.error(f"--order {args.order}: 1 to 10 are possible")
    if args.prune[0] != 0 or args.prune != sorted(args.prune) or len(args.prune) > args.order:
        parser.error(f"--prune {' '.join(map(str, args.prune))}: the counts begin with 0, never fall, and are no more than --order")
    if args.every < 1 or not 0 <= args.threshold < 1:
        parser.error(f"--every {args.every} --threshold {args.threshold}: the first is at least 1, the second at least 0 and below 1")

    from m2asr.lm.build import convert, estimate_model, write_both
    from m2asr.lm.report import dev_line, estimated_lines, table_lines
    from m2asr.lm.sources import Sources
    from m2asr.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(args.tokens) if args.tokens else None
    dev = [Sources([path], args.column, tokenizer) for path in args.dev]
    if args.text:
        sources = Sources(args.text, args.column, tokenizer, args.every)
        cutoffs = (args.prune + args.prune[-1:] * args.order)[: args.order]
        estimated = estimate_model(sources, args.order, cutoffs, args.threshold, args.out)
        print("\n".join(estimated_lines(estimated, sources, args.order)))
        written = write_both(args.out, estimated.table, args.gzip)
    else:
        table, written = convert(args.arpa, args.out)
        print("\n".join(table_lines(table)))
    for sources in dev:
        print(dev_line(written[-1], sources))
    print(f"wrote {' and '.join(map(str, written))}")
    return 0


if __name__ == "__main__":
    run(main)
