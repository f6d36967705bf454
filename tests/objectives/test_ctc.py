"""CTC: the loss of torch, missing and unrepresentable targets, padding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from m2asr.objectives.ctc import collapse, representable
from m2asr.objectives.view import View
from tests.objectives import build

VIEW = View()


def run(one, name="asr_x", system=None, grad=False):
    system = system or build.system()
    system.train()
    with torch.set_grad_enabled(grad):
        encoded = {VIEW: system.encode(one, VIEW, seed=0)}
        return system.objectives[name](encoded, one), encoded[VIEW], system


def test_loss_is_the_sum_of_each_utterance_alone():
    one = build.batch([120, 90, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]]})
    loss, encoded, system = run(one)
    log_probs = system.objectives["asr_x"].log_probs(encoded)
    total = 0.0
    for row, target in enumerate([[2, 3, 3, 4], [5, 6], [7]]):
        length = encoded.lengths[row]
        total += F.ctc_loss(log_probs[row, :length], torch.tensor(target), length, torch.tensor(len(target)), reduction="sum").item()
    assert float(loss.sum) == pytest.approx(total, rel=1e-6)
    assert loss.weight == 7  # tokens


def test_a_missing_target_changes_nothing():
    both = build.batch([120, 90], {"a:text": [[2, 3], None]})
    alone = build.batch([120], {"a:text": [[2, 3]]})
    loss, _, _ = run(both)
    expected, _, _ = run(alone)
    assert float(loss.sum) == pytest.approx(float(expected.sum), rel=1e-6)
    assert loss.weight == expected.weight
    assert loss.metrics["unrepresentable"] == (0.0, 1.0)


def test_no_target_at_all_is_a_zero_on_the_graph():
    loss, _, system = run(build.batch([120, 90], {"a:text": [None, None]}), grad=True)
    loss.sum.backward()
    assert loss.sum.item() == 0 and loss.weight == 0
    assert all(torch.isfinite(p.grad).all() for p in system.objectives["asr_x"].parameters())


@pytest.mark.parametrize("target", [None, []], ids=["missing", "empty"])
def test_targets_without_width(target):
    """As they are read where no utterance of a batch has a token."""
    one = build.batch([120, 90], {"a:text": [target, target]})
    one.targets["a:text"] = one.targets["a:text"][:, :0]
    loss, _, system = run(one, grad=True)
    loss.sum.backward()
    assert loss.weight == (0 if target is None else 2)
    assert all(torch.isfinite(p.grad).all() for p in system.objectives["asr_x"].parameters())


def test_targets_without_an_alignment_are_left_out_and_counted():
    one = build.batch([40, 120], {"a:text": [list(range(1, 12)), [2]]})  # 40 frames give fewer than 11 states
    loss, _, _ = run(one)
    assert loss.metrics["unrepresentable"] == (1.0, 2.0)
    assert loss.weight == 1
    assert torch.isfinite(loss.sum)


def test_one_frame_and_empty_text_do_not_crash():
    loss, encoded, _ = run(build.batch([1, 120], {"a:text": [[2], []]}))
    assert encoded.lengths[0] == 0
    assert torch.isfinite(loss.sum) and float(loss.sum) > 0  # the empty text is all blanks
    assert loss.metrics["unrepresentable"] == (1.0, 2.0)


def test_repeats_need_a_blank_between_them():
    one = build.batch([100], {"a:text": [[3, 3, 3]]})
    assert not representable(one, "a:text", torch.tensor([4])).item()
    assert representable(one, "a:text", torch.tensor([5])).item()


@pytest.mark.parametrize("per, expected", [("token", 7.0), ("utterance", 3.0)])
def test_per(per, expected):
    objectives = {"asr_x": {"type": "ctc", "stream": "x", "tokens": "a", "per": per}}
    system = build.system(objectives=objectives)
    loss, _, _ = run(build.batch([120, 90, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]]}), system=system)
    assert loss.weight == expected


def test_error_rate_in_evaluation():
    one = build.batch([120], {"a:text": [[2, 3, 4]]})
    system = build.system().eval()
    with torch.no_grad():
        encoded = {VIEW: system.encode(one, VIEW, seed=0)}
        loss = system.objectives["asr_x"](encoded, one)
        best = system.objectives["asr_x"].log_probs(encoded[VIEW])[0, : encoded[VIEW].lengths[0]].argmax(-1).tolist()
    errors, total = loss.metrics["error"]
    assert total == 3
    assert errors >= abs(len(collapse(best)) - 3)


def test_collapse():
    assert collapse([0, 2, 2, 0, 2, 3, 3, 0]) == [2, 2, 3]
    assert collapse([]) == []
