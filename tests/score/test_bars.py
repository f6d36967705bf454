"""Bars: read strictly, held against the mean over languages of each search."""

from __future__ import annotations

import pytest

from m2asr.errors import UserError
from m2asr.score.bars import Bar, reached, read_bars


def rows(search: str, *values: float) -> list[dict]:
    """CER of a search in one language after the other."""
    langs = ("en", "it")[: len(values)]
    row = {"task": "asr", "metric": "cer", "search": search}
    return [{**row, "lang": lang, "value": value} for lang, value in zip(langs, values, strict=True)]


ROWS = rows("greedy", 0.2, 0.4)
BOTH = [*ROWS, *rows("lm", 0.1, 0.2)]


WRONG = ["cer<0.3", "bleu<=3", "cer<=", "cer<=0.3.1", "cer<=.", "cer <= 0.3"]
WRONG += ["beam.cer<=0.3", "greedy.<=0.3", ".cer<=0.3", "greedy.cer.cer<=1"]


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_refused(text):
    with pytest.raises(UserError, match="write bars as .*searches: greedy, lm") as raised:
        read_bars(text, ["greedy", "lm"])
    assert raised.value.exit_code == 2


def test_a_bar_without_a_search_is_for_all():
    bars = read_bars("cer<=0.3 lm.wer<=.4", ["greedy", "lm"])
    assert bars == [Bar("greedy", "cer", 0.3), Bar("lm", "cer", 0.3), Bar("lm", "wer", 0.4)]
    assert read_bars("v1.0.wer<=1", ["v1.0"]) == [Bar("v1.0", "wer", 1.0)]  # names may hold dots


def test_the_mean_counts(capsys):
    assert read_bars("", ["greedy"]) == [] and reached([], ROWS)
    assert reached(read_bars("cer<=0.301", ["greedy"]), ROWS)
    assert not reached(read_bars("cer<=0.299", ["greedy"]), ROWS)
    lines = [f"{word}: greedy: cer 0.3000 (mean over en it), the bar is {bar}" for word, bar in (("reached", 0.301), ("missed", 0.299))]
    assert capsys.readouterr().out.splitlines() == lines


def test_every_search_is_held_against_its_own_bars(capsys):
    """Neither the better nor the other search counts for one, and one that misses is enough."""
    assert reached(read_bars("greedy.cer<=0.31 lm.cer<=0.16", ["greedy", "lm"]), BOTH)
    assert not reached(read_bars("lm.cer<=0.14 greedy.cer<=0.31", ["greedy", "lm"]), BOTH)
    assert not reached(read_bars("cer<=0.2", ["greedy", "lm"]), BOTH)
    lines = [f"{line} (mean over en it), the bar is 0.2" for line in ("missed: greedy: cer 0.3000", "reached: lm: cer 0.1500")]
    assert capsys.readouterr().out.splitlines()[-2:] == lines


def test_what_was_not_measured_is_missed(capsys):
    assert not reached([Bar("greedy", "wer", 1.0)], ROWS)
    assert not reached([Bar("lm", "cer", 1.0)], ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "missed: greedy: wer was not measured, the bar is 1.0",
        "missed: lm: cer was not measured, the bar is 1.0",
    ]
    assert not reached([Bar("greedy", "cer", 1.0)], [{**row, "lang": "en+it"} for row in ROWS])
    assert "cer was not measured; sets in several languages do not count, the bar" in capsys.readouterr().out
