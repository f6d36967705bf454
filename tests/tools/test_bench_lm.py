from __future__ import annotations

import re
import sys

import pytest

from tools import bench_lm


def test_compares_what_is_installed_and_tells_what_is_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_lm, "COMPARED", ((3000, 2),))
    monkeypatch.setattr(sys, "argv", ["bench_lm.py", "--lmplz", "/none/lmplz", "--tlm", "/none/tlm"])
    bench_lm.main()
    out = capsys.readouterr().out
    measured = r"m2asr: [\d.]+ s, [\d,]+ MB \(at most 90 s and 2,000 MB: (ok|MISSED)\)"
    assert re.search(measured + r"; perplexity [\d.]+, of known words [\d.]+\n", out)
    assert "KenLM: skipped, lmplz is not installed" in out and "IRSTLM: skipped, tlm is not installed" in out
    assert re.search(r"n-grams, [\d,]+ words: opened in \d+ ms; 200 words scored in \d+ us, 200 rows of all words in \d+ ms", out)
