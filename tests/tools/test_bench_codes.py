from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.decode.conftest import Run, untrained  # noqa: F401 - a fixture
from tools import bench_codes

SPEED = r"[\d,]+ x real time"


def test_times_both_ways(untrained: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    monkeypatch.chdir(Path.cwd())  # to which the test comes back
    options = ["--recipe", str(untrained.exp.parent), "--exp", "exp", "--set", "dev_en", "--tap", "block1", "--clusters", "5"]
    monkeypatch.setattr(sys, "argv", ["bench_codes.py", *options])
    before = sorted((untrained.data / "dev_en").iterdir())
    bench_codes.main()
    stored, recordings = capsys.readouterr().out.split("minutes of dev_en from ")[1:]
    target = r" \(at least 200: (ok|MISSED)\)"
    assert re.search(rf"^stored features, .*\n  learn a codebook: {SPEED}{target}\n  write codes: {SPEED}{target}\n", stored)
    assert re.search(rf"^recordings, .*\n  learn a codebook: {SPEED}\n  write codes: {SPEED}\n", recordings)
    assert sorted((untrained.data / "dev_en").iterdir()) == before
