"""Bars that mean error rates must not exceed, such as `cer<=0.30 lm.wer<=0.43`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from m2asr.errors import UserError
from m2asr.score.report import mean


class Bar(NamedTuple):
    """The most that the mean of a metric may be under a search."""

    search: str
    metric: str
    most: float


def read_bars(text: str, searches: Sequence[str]) -> list[Bar]:
    """The bars of each search; one without a name is for all. Raises UserError where the text is not a list of bars."""
    bars = []
    for word in text.split():
        match = re.fullmatch(r"(?:(.+)\.)?(wer|cer)<=(\d+(?:\.\d*)?|\.\d+)", word)
        if not match or match[1] not in (None, *searches):
            names = ", ".join(searches)
            raise UserError(f'--check "{text}": write bars as "cer<=0.30 {searches[0]}.wer<=0.80"; searches: {names}', exit_code=2)
        bars += [Bar(search, match[2], float(match[3])) for search in searches if match[1] in (None, search)]
    return bars


def reached(bars: Sequence[Bar], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every mean over languages is within its bar; prints one line per bar."""
    good = True
    for search, metric, most in bars:
        value = mean([row for row in rows if row["search"] == search], metric)
        if value is None:
            print(f"missed: {search}: {metric} was not measured, the bar is {most}")
        else:
            print(f"{'reached' if value <= most else 'missed'}: {search}: {metric} {value:.4f}, the bar is {most}")
        good &= value is not None and value <= most
    return good
