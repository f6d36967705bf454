"""The bench of gradient merging runs without a corpus, and every part of it says what it found."""

from __future__ import annotations

import re

import pytest

from tests import forked


@pytest.mark.slow
def test_the_tiny_case_prints_every_table() -> None:
    options = ["--case", "tiny", "--rounds", "1", "--precision", "float32", "--peak", "1"]
    result = forked.run(forked.ROOT / "tools/bench_weightings.py", *options)
    assert result.returncode == 0, result.stderr
    assert "float32 on cpu" in result.stdout
    titles = [line.split(":")[0] for line in result.stdout.split("\n") if re.match(r"[a-zA-Z]", line)]
    counts = {title: titles.count(title) for title in titles}
    assert counts["step over static weights"] == 4 and counts["MGDA against torchjd"] == 3 and counts["conflict report"] == 1
    for name in ("mgda", "moco", "modo-2", "modo-3"):
        assert len(re.findall(rf"^  {name} .* of static", result.stdout, re.MULTILINE)) == 4
    gain, memory = r"times as fast as the fastest .* at least [\d.]+", "of the memory for {} of the leanest .* at most 1"
    for verdict in (gain, memory.format("gradients"), memory.format("gradients and activations")):
        assert len(re.findall(f"{verdict}: (?:met|MISSED)$", result.stdout, re.MULTILINE)) == 3
    # rows do not depend on the machine: 1, M + 1, M + 2, 2 M + 1, 2 M + 1 for M = 3
    assert re.findall(r"(\d+) gradients, .* wanted: (\w+)", result.stdout) == [(rows, "met") for rows in "14577"]
