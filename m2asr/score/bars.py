"""Bars that mean error rates must not exceed, such as `cer<=0.30 wer<=0.80`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from m2asr.errors import UserError
from m2asr.score.report import mean


def read_bars(text: str) -> dict[str, float]:
    """The bar of each metric. Raises UserError where the text is not a list of bars."""
    found = [re.fullmatch(r"(wer|cer)<=(\d+(?:\.\d*)?|\.\d+)", bar) for bar in text.split()]
    if not all(found):
        raise UserError(f'--check "{text}": write bars as "cer<=0.30 wer<=0.80"', exit_code=2)
    return {bar[1]: float(bar[2]) for bar in found}


def reached(bars: Mapping[str, float], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every mean over languages is within its bar; prints one line per bar."""
    good = True
    for metric, bar in bars.items():
        value = mean(rows, metric)
        if value is None:
            print(f"missed: {metric} was not measured, the bar is {bar}")
        else:
            print(f"{'reached' if value <= bar else 'missed'}: {metric} {value:.4f}, the bar is {bar}")
        good &= value is not None and value <= bar
    return good
