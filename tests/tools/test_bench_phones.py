from __future__ import annotations

import re
import sys

import pytest

from tools import bench_phones


def test_times_every_way(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_phones.py", "--sentences", "200"])
    bench_phones.main()
    out = capsys.readouterr().out
    assert re.search(r"Mandarin, phrases known: [\d,]+ sentences/s \(at least 20,000: (ok|MISSED)\)", out)
    assert re.search(r"English, letters: [\d,]+ sentences/s\n  Mandarin, a text set: [\d,]+ sentences/s\n", out)
