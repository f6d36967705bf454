"""results.json and RESULTS.md of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2asr.files import open_atomic

PERCENT = {"wer", "cer"}


def mean_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mean over languages of each recognition metric, for tables and checks."""
    found = []
    for metric in ("wer", "cer"):
        values = [row["value"] for row in rows if row["metric"] == metric and row["task"] == "asr"]
        if len(values) > 1:
            found.append({"set": "mean", "task": "asr", "metric": metric, "value": sum(values) / len(values), "languages": len(values)})
    return found


def write_results(exp: Path, results: Mapping[str, Any], commands: Sequence[str]) -> str:
    """Write results.json and RESULTS.md into `exp`; returns the text of RESULTS.md."""
    with open_atomic(exp / "results.json") as file:
        json.dump(results, file, indent=1, ensure_ascii=False)
        file.write("\n")
    text = markdown(results, commands)
    with open_atomic(exp / "RESULTS.md") as file:
        file.write(text)
    return text


def markdown(results: Mapping[str, Any], commands: Sequence[str]) -> str:
    """A table of all rows, what they were measured with, and the commands that give them."""
    lines = [f"# {results['recipe']}: {results['tag']}", "", _facts(results), ""]
    lines += [
        "| set | task | metric | value | 95 % interval | sub / del / ins | tokens | utterances | baseline |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        task = row["task"] if row["task"] == "asr" else f"st {row['source']}-{row['lang']}"
        cells = [row["set"], task, row["metric"], _value(row, row["value"])]
        cells.append(" - ".join(_value(row, one) for one in row["ci95"]) if "ci95" in row else "")
        cells.append(f"{row['sub']} / {row['del']} / {row['ins']}" if "sub" in row else "")
        cells += [str(row.get("ref_tokens", "")), str(row.get("utterances", ""))]
        baseline = row.get("baseline")
        cells.append(f"{_value(row, baseline['value'])} {baseline['name']}" if baseline else "")
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for row in results["rows"]:
        if row.get("unrepresentable") is not None and row["metric"] == "chrf":
            share = f"{row['unrepresentable']:.1%}"
            pair = f"{row['set']}, {row['source']}-{row['lang']}"
            lines.append(f"- {pair}: {share} of the references are longer than CTC can write; CTC cannot reorder either.")
    signatures = sorted({row["signature"] for row in results["rows"] if "signature" in row})
    lines += [f"- sacrebleu: `{signature}`" for signature in signatures]
    lines += ["", "```bash", *commands, "```", ""]
    return "\n".join(lines)


def _facts(results: Mapping[str, Any]) -> str:
    facts = []
    if results.get("params"):
        facts.append(f"{results['params'] / 1e6:.2f} M parameters")
    if results.get("train_seconds"):
        facts.append(f"trained {results['train_seconds'] / 60:.1f} min over {results.get('audio_seconds', 0) / 3600:.1f} h of audio")
    facts += [f"seed {results['seed']}"] if results.get("seed") is not None else []
    facts.append(f"search {results['decode']}, utterances of at least {results['min_words']} words")
    facts.append("error rates in %, intervals from a bootstrap over utterances")
    return "; ".join(facts) + "."


def _value(row: Mapping[str, Any], value: float) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{100 * value:.1f}" if row["metric"] in PERCENT else f"{value:.1f}"
