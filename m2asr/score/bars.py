"""Bars: limits for mean error rates, such as `cer<=0.30 lm.wer<=0.43`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from m2asr.errors import UserError
from m2asr.score.report import languages_of, mean


class Bar(NamedTuple):
    """The limit of the mean of a metric with a search."""

    search: str
    metric: str
    maximum: float


def read_bars(text: str, searches: Sequence[str]) -> list[Bar]:
    """Parse bars; one without the name of a search is for all searches. Raises UserError if the text is not a list of bars."""
    bars = []
    for word in text.split():
        match = re.fullmatch(r"(?:(.+)\.)?(wer|mer|cer)<=(\d+(?:\.\d*)?|\.\d+)", word)
        if not match or match[1] not in (None, *searches):
            names = ", ".join(searches)
            raise UserError(f'--check "{text}": write bars as "cer<=0.30 {searches[0]}.wer<=0.80"; searches: {names}', exit_code=2)
        bars += [Bar(search, match[2], float(match[3])) for search in searches if match[1] in (None, search)]
    return bars


def reached(bars: Sequence[Bar], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no mean over languages is above its bar; prints one line per bar."""
    all_reached = True
    for search, metric, maximum in bars:
        value = mean([row for row in rows if row["search"] == search], metric)
        if value is None:
            why = "; sets in several languages do not count" if any("+" in row["lang"] for row in rows if "lang" in row) else ""
            print(f"missed: {search}: {metric} was not measured{why}, the bar is {maximum}")
        else:
            over = f" (mean over {' '.join(languages)})" if len(languages := languages_of(rows, metric)) > 1 else ""
            print(f"{'reached' if value <= maximum else 'missed'}: {search}: {metric} {value:.4f}{over}, the bar is {maximum}")
        all_reached &= value is not None and value <= maximum
    return all_reached
