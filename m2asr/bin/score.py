"""Score decoded sets: error rates and translation scores with intervals and baselines, into results.json, RESULTS.md and report.html.

Example:
  python -m m2asr.bin.score --exp exp/m2asr --decode greedy lm --data data --min_words 3 --check "greedy.wer<=0.80 lm.wer<=0.43"
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from m2asr.bin.command import Parser, natural, run
from m2asr.errors import UserError
from m2asr.names import check_option
from m2asr.score.bars import reached, read_bars

BARS = 'bars for means over languages, e.g. "cer<=0.30 lm.wer<=0.43": for every search, or for the search called lm; exit 1 if missed'


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="score", description=__doc__)
    parser.add_argument("--exp", type=Path, required=True, help="folder of the run")
    parser.add_argument("--decode", nargs="+", default=["greedy"], help="names of the searches to score: the folders decode_<name>")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--min_words", type=natural, default=1, help="references with fewer words are not scored")
    parser.add_argument("--by", default="", help="add scores per group: spk, lang, source, or another table utt2NAME of the sets")
    parser.add_argument("--recipe", default=Path.cwd().name, help="name of the recipe in the tables")
    parser.add_argument("--command", action="append", default=[], help="a command to print in RESULTS.md instead of this one; repeatable")
    parser.add_argument("--check", default="", help=BARS)
    parser.add_argument("--page", type=natural, default=20000, help="most utterances in report.html, those with most errors; 0: no page")
    args = parser.parse_args(argv)
    check_option("--decode", *args.decode)
    check_option("--by", *filter(None, [args.by]))
    bars = read_bars(args.check, args.decode)

    from m2asr.json_file import read_json
    from m2asr.score.error_page import write_page
    from m2asr.score.evaluate import score_folder
    from m2asr.score.report import mean_rows, write_results

    if args.exp.exists() and not args.exp.is_dir():
        raise UserError(f"--exp {args.exp}: it is a file; give the folder of a run")
    decoded = []
    for name in dict.fromkeys(args.decode):
        folders = sorted(path.parent for path in (args.exp / f"decode_{name}").glob("*/*/info.json"))
        if not folders:
            raise UserError(f"{args.exp}/decode_{name}: nothing decoded there; run stage 5 (decode) first")
        decoded += folders
    rows = [row for out in decoded for row in score_folder(out, args.data, args.min_words, args.by)]
    training = args.exp / "train_info.json"
    results = {"recipe": args.recipe, "tag": args.exp.name, "decode": args.decode, "min_words": args.min_words}
    results |= {"by": args.by} if args.by else {}
    results |= read_json(training, "run stage 4 (train) again") if training.is_file() else {}
    results["rows"] = rows + mean_rows(rows)
    this = shlex.join(["python", "-m", "m2asr.bin.score", *(sys.argv[1:] if argv is None else argv)])
    print(write_results(args.exp, results, args.command or [this]))
    if args.page > 0:
        print(write_page(args.exp / "report.html", results, decoded, args.data, args.page))
    return 0 if reached(bars, rows) else 1


if __name__ == "__main__":
    run(main)
