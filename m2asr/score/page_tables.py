"""The sections of an error page above its utterances: totals of every set, confusions, and controls to sort and filter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from m2asr.score.confusions import confusions
from m2asr.score.decoded import Decoded
from m2asr.score.page_cards import language
from m2asr.score.report import format_value

LISTED = 12  # of the most frequent confusions
METRICS = {"wer": "WER", "mer": "MER", "cer": "CER", "bleu": "BLEU", "chrf": "chrF"}
LEGEND = """<p class="legend aligned">Reference above, hypothesis below:
<span class="s"><del>subs<u>t</u>ituted</del><ins>subs<u>d</u>ituted</ins></span>
<span class="d"><del>deleted</del></span> <span class="i"><ins>inserted</ins></span></p>
"""


def totals(results: Mapping[str, Any]) -> Iterator[str]:
    """A table of the results of every set: values with their intervals, kinds of errors, utterances."""
    lines: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for row in results["rows"]:
        name = f"mean over {' '.join(row['languages'])}" if "languages" in row else row["set"]
        key = name, row.get("objective", ""), row["search"]
        lines.setdefault(key, {})[row["metric"]] = row
    if not lines:
        yield "<p>No decoded set has references.</p>"
        return
    metrics = [metric for metric in METRICS if any(metric in line for line in lines.values())]
    heads = ["set", "target", "search", *(METRICS[metric] for metric in metrics), "sub / del / ins", "utterances"]
    yield '<section aria-labelledby="totals"><h2 id="totals">Totals</h2><table><thead><tr>'
    yield "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead><tbody>\n"
    for (name, objective, search), line in lines.items():
        row = next(iter(line.values()))
        errors = f"{row['sub']} / {row['del']} / {row['ins']}" if "sub" in row else ""
        values = [_interval(line[metric]) if metric in line else "" for metric in metrics]
        cells = [escape(objective), escape(search), *values, errors, str(row.get("utterances", ""))]
        yield f'<tr><th scope="row">{escape(name)}</th>'
        yield "".join(f'<td data-label="{head}">{cell}</td>' for head, cell in zip(heads[1:], cells, strict=True)) + "</tr>\n"
    yield "</tbody></table></section>\n"


def _interval(row: Mapping[str, Any]) -> str:
    interval = f" <small>({' – '.join(format_value(row, end) for end in row['ci95'])})</small>" if "ci95" in row else ""
    return format_value(row, row["value"]) + interval


def confused(decoded: Sequence[Decoded]) -> Iterator[str]:
    """The most frequent confusions of every recognition."""
    recognitions = [answer for answer in decoded if answer.errors is not None]
    if not recognitions:
        return
    yield '<section aria-labelledby="confused"><h2 id="confused">Most confused</h2>\n'
    for index, answer in enumerate(recognitions):
        counts = confusions(answer.errors)
        lists = (
            ("substituted", counts.substituted),
            ("deleted", {(token, ""): count for token, count in counts.deleted.items()}),
            ("inserted", {("", token): count for token, count in counts.inserted.items()}),
        )
        name, target, search = escape(answer.set), escape(answer.objective), escape(answer.search)
        yield f'<details data-set="{name}" data-target="{target}" data-search="{search}"{" open" if index == 0 else ""}>'
        yield f'<summary>{name} · {target} · {search}</summary><div class="lists">'
        for title, counted in lists:
            yield f"<div><h3>{title} <small>{sum(counted.values())}</small></h3><ol>{_most(counted, answer.lang)}</ol></div>"
        yield "</div></details>\n"
    yield "</section>\n"


def _most(counted: Mapping[tuple[str, str], int], lang: str) -> str:
    """Entries of a list; a click on a button puts its text into the filter of the page."""
    lines = []
    for pair, count in sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))[:LISTED]:
        words = (f"<bdi {language(lang)}>{escape(token)}</bdi>" if token else "" for token in pair)
        lines.append(f'<li><button type="button">{" → ".join(words).strip()}</button> {count}</li>')
    return "".join(lines) or "<li>none</li>"


def controls(decoded: Sequence[Decoded]) -> Iterator[str]:
    """The controls that sort and filter utterances, a legend, and the beginning of the list of utterances."""
    yield '<section aria-labelledby="utterances"><h2 id="utterances">Utterances</h2><form class="script" role="search">'
    for name, values in (
        ("set", Counter(answer.set for answer in decoded)),
        ("target", Counter(answer.objective for answer in decoded)),
        ("search", Counter(answer.search for answer in decoded)),
    ):
        options = "".join(f"<option>{escape(value)}</option>" for value in values)
        hidden = "" if len(values) > 1 else " hidden"
        yield f'<label{hidden}>{name} <select name="{name}"><option value="">all</option>{options}</select></label>'
    orders = [("errors", "most errors"), ("rate", "highest error rate")] if any(answer.errors for answer in decoded) else []
    orders += [("chrf", "lowest chrF")] if any(answer.chrf for answer in decoded) else []
    orders += [("longest", "longest"), ("shortest", "shortest"), ("id", "set and id")]
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in orders)
    yield f'<label>sort by <select name="sort">{options}</select></label>'
    yield '<label class="wide">text or id <input type="search" name="text" placeholder="word, or word → other"></label>'
    yield '<button type="reset">show all</button><output aria-live="polite"></output></form>\n'
    if any(answer.errors for answer in decoded):
        yield LEGEND
    yield '<div id="list">\n'
