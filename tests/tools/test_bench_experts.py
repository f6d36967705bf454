"""The bench of experts prints a line per case, with times and memory over those of a dense network."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.conftest import ROOT

SCRIPT = """
import bench_experts
bench_experts.ROWS = 30
bench_experts.CASES = [bench_experts.Case(8, 16, 3, dict.fromkeys(bench_experts.CASES[0].bars, 1.5))]
bench_experts.main()
"""


def test_a_case_prints_its_line() -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tools'}"}
    result = subprocess.run([sys.executable, "-c", SCRIPT, "--rounds", "1"], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    bar = r"\d+\.\d\d \(at most \d\.\d\d: (met|MISSED)\)"
    assert re.search(rf"  8     16       3  float32 +[\d.]+ ms +{bar} +[\d.]+ +[\d.]+ +{bar} +{bar}\n", result.stdout), result.stdout
