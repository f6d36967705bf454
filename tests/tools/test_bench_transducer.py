from __future__ import annotations

import re
import sys

import pytest
import torch

from tools import bench_transducer


def test_both_sides_have_the_same_loss_and_are_compared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_transducer, "SIZES", (2, 40, 10, 50, 16))
    leaves = bench_transducer.inputs(torch.float32, bench_transducer.SIZES)
    torch.testing.assert_close(bench_transducer.blocks(*leaves), bench_transducer.full_joint(*leaves))
    monkeypatch.setattr(sys, "argv", ["bench_transducer.py", "--rounds", "1", "--threads", "1"])
    monkeypatch.setattr(bench_transducer, "extra_memory", lambda *_: 1e6)  # a new process takes seconds to load
    bench_transducer.main()
    out = capsys.readouterr().out
    assert re.search(r"torchaudio behind the full joint, float32: [\d.]+ s, 1 MB\n", out)
    assert re.search(r"blocks, float32: [\d.]+ s, 1 MB; [\d.]+ times as fast \(at least 1.5: (ok|MISSED)\), 1/1 of the memory", out)
    assert re.search(r"pruned, float32: [\d.]+ s, 1 MB; [\d.]+ times as fast \(at least 10.0: (ok|MISSED)\), 1/1 of the memory", out)


def test_memory_is_that_above_what_a_process_had_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_transducer, "SIZES", (1, 400, 60, 200, 16))
    logits = 4 * 400 * 61 * 200  # bytes; torchaudio holds their gradient beside them
    assert 1.5 * logits < bench_transducer.extra_memory(bench_transducer.full_joint, torch.float32, 1) < 6 * logits
