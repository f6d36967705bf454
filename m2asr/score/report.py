"""Write results.json and RESULTS.md of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from m2asr.files import open_atomic

PERCENT = ("wer", "mer", "cer")


def mean(rows: Sequence[Mapping[str, Any]], metric: str) -> float | None:
    """The mean of a recognition metric over the languages that have it, or None if none has. A language is the mean of its sets.

    Sets in several languages do not count.
    """
    means = [sum(sets) / len(sets) for sets in _by_language(rows, metric).values()]
    return sum(means) / len(means) if means else None


def mean_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row with the set `mean` for each search and metric that several languages have; `languages` names them."""
    means = []
    for search in dict.fromkeys(row["search"] for row in rows):
        of_search = [row for row in rows if row["search"] == search]
        for metric in PERCENT:
            if len(languages := languages_of(of_search, metric)) > 1:
                keys = {"set": "mean", "task": "asr", "search": search, "languages": languages, "metric": metric}
                means.append({**keys, "value": mean(of_search, metric)})
    return means


def languages_of(rows: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """The languages over which the mean of a metric runs."""
    return sorted(_by_language(rows, metric))


def _by_language(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for row in rows:
        if row["task"] == "asr" and row["metric"] == metric and "+" not in row["lang"]:
            values.setdefault(row["lang"], []).append(row["value"])
    return values


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
    """RESULTS.md: an overview by language and task, every value with its interval and baseline, notes, and the commands."""
    lines = [f"# {results['recipe']}: {results['tag']}", "", conditions(results), ""]
    tables = [*_overview(results["rows"]), "", *_details(results["rows"])] if results["rows"] else ["No decoded set has references."]
    lines += [*tables, ""]
    lines += [*_warnings(results["rows"]), "", "```bash", *commands, "```", ""]
    return "\n".join(lines)


def _overview(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line per search, language and set, one column per task and metric."""
    table: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for row in rows:
        column = row["metric"].upper() if row["task"] == "asr" else f"{row['metric']} into {row['lang']}"
        language = row["source"] if "source" in row else " ".join(row["languages"])
        cells = table.setdefault((row["search"], language, row["set"]), {})
        cells.setdefault(column, []).append(format_value(row, row["value"]))
    columns = sorted({column for cells in table.values() for column in cells}, key=lambda name: ("into" in name, name))
    searches = list(dict.fromkeys(search for search, _, _ in table))
    yield "| search | language | set | " + " | ".join(columns) + " |"
    yield "|---|---|---|" + "---:|" * len(columns)
    for (search, language, name), cells in sorted(table.items(), key=lambda line: searches.index(line[0][0])):
        yield f"| {search} | {language} | {name} | " + " | ".join(" / ".join(cells.get(column, [])) for column in columns) + " |"


def _details(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line per value, followed by one line per group."""
    yield "| search | set | task | metric | value | 95 % interval | sub / del / ins | tokens | utterances | baseline |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in _with_groups(rows):
        task = row["task"] if row["task"] == "asr" else f"st {row['source']}-{row['lang']}"
        name = f"mean over {' '.join(row['languages'])}" if "languages" in row else row["set"]
        cells = [row["search"], name, task, row["metric"], format_value(row, row["value"])]
        cells.append(" - ".join(format_value(row, end) for end in row["ci95"]) if "ci95" in row else "")
        cells.append(f"{row['sub']} / {row['del']} / {row['ins']}" if "sub" in row else "")
        cells += [str(row.get("ref_tokens", "")), str(row.get("utterances", ""))]
        baseline = row.get("baseline")
        cells.append(f"{format_value(row, baseline['value'])} {baseline['name']}" if baseline else "")
        yield "| " + " | ".join(cells) + " |"


def _with_groups(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        yield row
        for name, figures in row.get("groups", {}).items():
            yield {**row, **figures, "set": f"{row['set']}, {name}"}


def _warnings(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if any(row.get("language") == "oracle" for row in rows):
        yield "- The language of each utterance is given to the system, not recognized by it."
    wrong = {row["set"]: row["language_error"] for row in rows if "language_error" in row}
    if wrong:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in wrong.items())
        yield f"- The language of each utterance is recognized by the system; wrong for: {shares}."
    too_long = [row for row in rows if row.get("unrepresentable") is not None and row["metric"] == "chrf"]
    shares = {f"{row['set']}, {row['source']}-{row['lang']}": row["unrepresentable"] for row in too_long}
    for pair, share in shares.items():
        yield f"- {pair}: {share:.1%} of the references are longer than CTC can write; CTC cannot reorder either."
    for signature in sorted({row["signature"] for row in rows if "signature" in row}):
        yield f"- sacrebleu: `{signature}`"


def conditions(results: Mapping[str, Any]) -> str:
    """One sentence on how the values were measured."""
    items = []
    if results.get("params"):
        items.append(f"{results['params'] / 1e6:.2f} M parameters")
    if results.get("train_seconds"):
        items.append(f"trained {results['train_seconds'] / 60:.1f} min over {results.get('audio_seconds', 0) / 3600:.1f} h of audio")
    items += [f"seed {results['seed']}"] if results.get("seed") is not None else []
    items.append(f"search {', '.join(results['decode'])}; utterances of at least {results['min_words']} words")
    items.append("error rates in %, intervals from a bootstrap over utterances")
    return "; ".join(items) + "."


def format_value(row: Mapping[str, Any], value: float) -> str:
    """A value of a row as text: error rates in percent."""
    return f"{100 * value:.1f}" if row["metric"] in PERCENT else f"{value:.1f}"
