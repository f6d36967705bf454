"""The bench of a step tells what it costs and where its time goes."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests import forked
from tests.forked import ROOT
from tools import compare_revisions


def bench(*options: str) -> str:
    result = forked.run(ROOT / "tools/bench_step.py", "--case", "tiny", "--rounds", "2", *options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_profile_says_where_the_time_goes() -> None:
    out = bench("--profile", "--rounds", "1", "--set", "train.workers=0", "train.precision=bfloat16")
    rows = {name.strip(): (float(time), float(share)) for name, time, share in re.findall(r"^(.+?) +([\d.]+) ms +([\d.]+)%$", out, re.M)}
    total, whole = rows.pop("together, CPU time of a step")
    assert whole == 100 and sum(time for time, _ in rows.values()) == pytest.approx(total, abs=1)
    assert sum(share for _, share in rows.values()) == pytest.approx(100, abs=1)
    for kind in ("multiplications", "attention", "depthwise", "dropout", "gradients", "clipping", "CTC", "norms", "casts", "the rest"):
        assert [share for name, (_, share) in rows.items() if name.startswith(kind) and share > 0], kind
    assert re.search(r"preparing kernels costs -?[\d.]+ ms more; \d+ page faults", out)
    work, time, speed = map(float, re.search(r"([\d.]+) GFLOP in ([\d.]+) ms are (\d+) GFLOP/s", out).groups())
    assert work >= 0 and time == total and speed == pytest.approx(1000 * work / time, abs=1 + 100 / time)


def test_a_busy_process_ends_with_the_bench() -> None:
    out = bench("--beside_busy", "--set", "train.workers=0")
    assert re.fullmatch(r"1 threads: [\d.]+ s of audio per s, [\d.]+ beside a busy process: [\d.]+ \(bar 0.70\)\n", out)
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            commands.append(path.read_bytes())
    assert commands and not any(b"while True: pass" in command for command in commands)


def test_the_bench_counts_cpu_time() -> None:
    out = bench("--set", "train.workers=1")
    found = re.search(r"([\d.]+) s of audio per s on 1 threads, ([\d.]+) per s of CPU time, ([\d.]+) ms of CPU time per step, ", out)
    assert found and min(map(float, found.groups())) > 0


def test_revisions_take_turns_in_worktrees_that_are_gone_afterwards(tmp_path: Path) -> None:
    before = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with compare_revisions.checked_out("HEAD") as root:
        assert (root / "m2asr").is_dir() and root != ROOT
    assert not root.exists()
    assert subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout == before
    with compare_revisions.checked_out(None) as root:
        assert root == ROOT and (ROOT / "m2asr").is_dir()


def test_a_lower_level_is_not_idle() -> None:
    conf = ROOT / "egs/mini/conf"
    assert compare_revisions.with_lower_level(conf / "train_m2asr.yaml", ["a=1"]) == ["penalty={start: 0.1, end: 0.1}", "a=1"]
    assert compare_revisions.with_lower_level(conf / "train_supervised.yaml", ["a=1"]) == ["a=1"]
