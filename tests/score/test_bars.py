"""Bars: read strictly, held against the mean over languages."""

from __future__ import annotations

import pytest

from m2asr.errors import UserError
from m2asr.score.bars import reached, read_bars

ROWS = [{"task": "asr", "lang": lang, "metric": "cer", "value": value} for lang, value in (("en", 0.2), ("it", 0.4))]


@pytest.mark.parametrize("text", ["cer<0.3", "bleu<=3", "cer<=", "cer<=0.3.1", "cer<=.", "cer <= 0.3"])
def test_anything_else_is_refused(text):
    with pytest.raises(UserError, match="write bars as") as raised:
        read_bars(text)
    assert raised.value.exit_code == 2


def test_the_mean_counts(capsys):
    assert read_bars("") == {} and reached({}, ROWS)
    assert reached(read_bars("cer<=0.301"), ROWS)
    assert not reached(read_bars("cer<=0.299"), ROWS)
    assert capsys.readouterr().out.splitlines() == ["reached: cer 0.3000, the bar is 0.301", "missed: cer 0.3000, the bar is 0.299"]


def test_what_was_not_measured_is_missed(capsys):
    assert not reached({"wer": 1.0}, ROWS)
    assert "wer was not measured" in capsys.readouterr().out
