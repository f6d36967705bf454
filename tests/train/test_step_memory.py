"""When a step holds the gradients of its objectives in memory."""

from __future__ import annotations

import pytest

from m2asr.moo.plan import MERGED
from m2asr.train.passes import Passes
from tests.objectives import build
from tests.train.test_step import joint


def test_steps_that_use_weights_again_hold_no_gradients_of_the_one_that_found_them():
    step = joint(build.system(), {"type": "mgda"}, every=2)
    held = []
    for number in range(3):
        step([build.draw(10 * number)], number, factors=(1, 0.1))
        held.append(set(step.rows._held))
    apart = {("asr_x", 0), ("asr_y", 0), ("st_y", 0), MERGED}
    assert held == [apart, apart, {MERGED}]  # due: the first step, and every second one


@pytest.mark.parametrize("kind", ["static", "mgda", "moco"])
def test_gradients_take_no_memory_while_activations_grow(kind, monkeypatch):
    """Before the first forward of a step, and before the backward that fills a row."""
    system, seen = build.system(), []
    step = joint(system, {"type": kind})
    kept = {("tracked", name) for name in ("asr_x", "asr_y", "st_y")} if kind == "moco" else set()
    forward, accumulate = Passes._forward, step.rows.accumulate_into
    monkeypatch.setattr(Passes, "_forward", lambda *args: seen.append(set(step.rows._held)) or forward(*args))

    def accumulate_into(row, copies=None):
        held.append((row, row in step.rows._held))
        return accumulate(row, copies)

    monkeypatch.setattr(step.rows, "accumulate_into", accumulate_into)
    for number in range(2):
        held: list[tuple[object, bool]] = []
        step([build.draw(10 * number)], number, factors=(1, 0.1))
        assert seen[0] == (kept if number else set())
        assert len({row for row, _ in held}) == (1 if kind == "static" else 4)
        assert not any(there for row, there in held if row != MERGED)
        seen.clear()
