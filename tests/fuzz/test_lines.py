"""Mutated command lines of every entry point end with exit code 0, 1 or 2 and a clear line, and lose no file of the user."""

from __future__ import annotations

import os
import random
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bin.test_command import ENTRY_POINTS
from tests.fuzz.cases import smallest
from tests.fuzz.commands import call, contents, fault, lost
from tests.fuzz.lines import LINES, mutate_line
from tests.fuzz.world import copy_world, make_world

CASES, FIRST = int(os.environ.get("M2ASR_FUZZ", "0")) // len(LINES), int(os.environ.get("M2ASR_FUZZ_SEED", "1"))
FIXED = {"download": [f"--mirror=file://{os.sep}missing"]}  # nothing comes from the network
Try = Callable[[list[str]], str | None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("fuzz") / "outer/world")


def trial(module: str, world: Path) -> Try:
    """Tells what is wrong with a command line of an entry point; each is tried in a new copy of the world."""
    before, copy = contents(world), world.parent.parent / f"{module}/world"

    def wrong(words: list[str]) -> str | None:
        shutil.rmtree(copy.parent, ignore_errors=True)  # what it has written beside
        copy_world(world, copy)
        return fault(call(module, [*words, *FIXED.get(module, [])], copy)) or lost(before, copy)

    return wrong


def test_every_entry_point_has_a_line() -> None:
    assert sorted(LINES) == ENTRY_POINTS


@pytest.mark.parametrize("module", LINES)
def test_mutated_lines(module: str, world: Path) -> None:
    wrong = trial(module, world)
    for seed in range(FIRST, FIRST + max(1, CASES)):
        words = mutate_line(LINES[module].split(), random.Random(f"{module} {seed}"))
        if found := wrong(words):
            kind = found.partition(":")[0]
            words = smallest(words, lambda fewer, kind=kind: (wrong(fewer) or "").partition(":")[0] == kind)
            pytest.fail(f"seed {seed}: python -m m2asr.bin.{module} {shlex.join(words)}: {wrong(words)}")
