"""Score what was decoded: error rates and translation scores with intervals and baselines, results.json and RESULTS.md.

Example:
  python -m m2asr.bin.score --exp exp/m2asr --decode greedy --data data --min_words 3 --check "cer<=0.30 wer<=0.80"
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="score", description=__doc__)
    parser.add_argument("--exp", type=Path, required=True, help="folder of the run")
    parser.add_argument("--decode", default="greedy", help="which search: the folder decode_<name>")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--min_words", type=int, default=1, help="references with fewer words are not scored")
    parser.add_argument("--recipe", default=Path.cwd().name, help="name of the recipe in the tables")
    parser.add_argument("--command", action="append", default=[], help="a command to print in RESULTS.md; may be repeated")
    parser.add_argument(
        "--check", default="", help='bars for the mean over languages, e.g. "cer<=0.30 wer<=0.80"; exit 1 where one is missed'
    )
    args = parser.parse_args(argv)
    bars = [re.fullmatch(r"(wer|cer)<=([0-9.]+)", bar) for bar in args.check.split()]
    if not all(bars):
        raise UserError(f'--check "{args.check}": write bars as "cer<=0.30 wer<=0.80"', exit_code=2)

    from m2asr.data.directory import read_table
    from m2asr.score.evaluate import match, score_recognition, score_translation
    from m2asr.score.report import mean_rows, write_results

    folder = args.exp / f"decode_{args.decode}"
    infos = sorted(folder.glob("*/*/info.json"))
    if not infos:
        raise UserError(f"{folder}: nothing decoded there; run stage 5 (decode) first")
    rows = []
    for path in infos:
        info = json.loads(path.read_text(encoding="utf-8"))
        data, out = args.data / info["set"], path.parent
        references = read_table(data / info["text"])
        answers = match(references, read_table(out / "text"), read_table(data / "utt2spk"), args.min_words, out / "text")
        training = [
            text
            for one in info["train_sets"]
            if (args.data / one / info["text"]).is_file()
            for text in read_table(args.data / one / info["text"]).values()
        ]
        score = score_recognition if info["task"] == "asr" else score_translation
        named = {key: info[key] for key in ("set", "task", "lang", "source", "objective", "language")}
        named |= {"unrepresentable": info["unrepresentable"]} if info["task"] == "st" else {}
        rows += [{**named, **row} for row in score(answers, info["lang"], training, out)]
        left = f", {answers.short} below {args.min_words} words left out" if answers.short else ""
        print(
            f"{info['set']} {info['objective']}: {len(answers.utts)} utterances scored{left}"
            + (f", {answers.unmatched} without reference" if answers.unmatched else "")
        )
    means = mean_rows(rows)
    facts = args.exp / "train_info.json"
    results = {"recipe": args.recipe, "tag": args.exp.name, "decode": args.decode, "min_words": args.min_words}
    results |= json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
    print(write_results(args.exp, {**results, "rows": rows + means}, args.command or ["./run.sh"]))
    values = {row["metric"]: row["value"] for row in means or rows}
    for bar in bars:
        if not values.get(bar[1], 1.0) <= float(bar[2]):
            print(f"missed: {bar[1]} {values.get(bar[1], float('nan')):.4f}, the bar is {bar[2]}")
            return 1
        print(f"reached: {bar[1]} {values[bar[1]]:.4f}, the bar is {bar[2]}")
    return 0


if __name__ == "__main__":
    run(main)
