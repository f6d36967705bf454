from __future__ import annotations

from m2asr.moo.reuse import Reuse


def test_every_kth_step_and_the_first_are_due() -> None:
    reuse, due = Reuse(4), []
    for number in range(12):
        if reuse.due(number, ["a", "b"]):
            due.append(number)
            reuse.weights = {"a": 0.5, "b": 0.5}
    assert due == [0, 3, 7, 11]


def test_other_objectives_need_other_weights() -> None:
    reuse = Reuse(100)
    reuse.weights = {"a": 0.5, "b": 0.5}
    assert not reuse.due(5, ["b", "a"])
    assert reuse.due(5, ["a"]) and reuse.due(5, ["a", "b", "c"])


def test_state_goes_through_a_checkpoint() -> None:
    one, other = Reuse(10), Reuse(10)
    one.weights = {"a": 0.25, "b": 0.75}
    other.load_state_dict(one.state_dict())
    assert other.weights == one.weights and not other.due(4, ["a", "b"])
    assert Reuse(1).due(4, ["a"])
