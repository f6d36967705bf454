"""Threads of a training process, and how many kernels oneDNN remembers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import forked

PROBE = """
import torch
from m2asr.train.cpu import prepare_cpu
torch.set_num_threads(4)
prepare_cpu({threads})
print(torch.get_num_threads())
"""
CAPACITY = """
import torch
from m2asr.train.cpu import prepare_cpu
prepare_cpu(1)
for rows in list(range(1, 1500)) * 2:  # more shapes than oneDNN remembers by default, and all of them again
    torch.mm(torch.ones(rows, 8, dtype=torch.bfloat16), torch.ones(8, 8, dtype=torch.bfloat16))
"""


@pytest.mark.parametrize(("threads", "processes", "wanted"), [(1, "1", 1), (3, "2", 3), (0, "1", 4), (0, "2", 2), (0, "8", 1)])
def test_threads_are_those_asked_for_or_a_share(threads, processes, wanted, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    (tmp_path / "probe.py").write_text(PROBE.format(threads=threads))
    assert int(forked.run(tmp_path / "probe.py").stdout) == wanted


def test_kernels_of_more_shapes_than_the_default_are_remembered():
    """Not one is prepared twice, though torch was imported before."""
    environment = {**os.environ, "ONEDNN_VERBOSE": "profile_create"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    output = subprocess.run([sys.executable, "-c", CAPACITY], env=environment, capture_output=True, text=True, check=True).stdout
    created = [line for line in output.splitlines() if "create:cache_miss" in line and "matmul" in line]
    hits = [line for line in output.splitlines() if "create:cache_hit" in line and "matmul" in line]
    if not created:
        pytest.skip("this CPU does not multiply bfloat16 through oneDNN")
    assert len(created) < 1600 and len(hits) > 1300
