"""CTC: the loss of torch, missing and unrepresentable targets, padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein

from m2asr.errors import UserError
from m2asr.objectives.ctc import collapse, representable
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from tests.objectives import build

VIEW = View()


def run(batch, name="asr_x", system=None, train=True):
    system = (system or build.system()).train(train)
    share, loss, encoded = build.learn(system, batch, name)
    return share, loss, encoded[VIEW], system


def test_loss_is_the_sum_of_each_utterance_alone():
    batch = build.batch([120, 90, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]]})
    share, loss, encoded, system = run(batch)
    log_probs, _ = system.objectives["asr_x"].log_probs(encoded)
    total = 0.0
    for row, target in enumerate([[2, 3, 3, 4], [5, 6], [7]]):
        length = encoded.lengths[row]
        total += F.ctc_loss(log_probs[row, :length], torch.tensor(target), length, torch.tensor(len(target)), reduction="sum").item()
    assert loss.sum.item() == pytest.approx(total, rel=1e-6)
    assert share.weight == 7  # tokens


def test_a_missing_target_changes_nothing():
    share, loss, _, _ = run(build.batch([120, 90], {"a:text": [[2, 3], None]}))
    alone, expected, _, _ = run(build.batch([120], {"a:text": [[2, 3]]}))
    assert loss.sum.item() == pytest.approx(expected.sum.item(), rel=1e-6)
    assert share.weight == alone.weight
    assert share.metrics["unrepresentable"] == (0.0, 1.0)


def test_no_target_at_all_is_nothing_to_learn():
    share, loss, _, _ = run(build.batch([120, 90], {"a:text": [None, None]}))
    assert loss is None and share.weight == 0
    assert share.metrics["unrepresentable"] == (0.0, 0.0)


@pytest.mark.parametrize("target", [None, []], ids=["missing", "empty"])
def test_targets_without_width(target):
    """As they are read where no utterance of a batch has a token."""
    batch = build.batch([120, 90], {"a:text": [target, target]})
    batch.targets["a:text"] = batch.targets["a:text"][:, :0]
    share, loss, _, system = run(batch)
    assert share.weight == (0 if target is None else 2)
    if loss is not None:
        loss.sum.backward()
        assert loss.sum > 0 and all(torch.isfinite(p.grad).all() for p in system.objectives["asr_x"].parameters())
        assert build.dev_error(system, batch, "asr_x")[1] == 0


def test_targets_without_an_alignment_are_left_out_and_counted():
    batch = build.batch([40, 120], {"a:text": [list(range(1, 12)), [2]]})  # 40 frames give fewer than 11 states
    share, loss, encoded, system = run(batch)
    assert share.metrics["unrepresentable"] == (1.0, 2.0)
    assert share.weight == 1
    log_probs, lengths = system.objectives["asr_x"].log_probs(encoded)
    expected = F.ctc_loss(log_probs[1, : lengths[1]], torch.tensor([2]), lengths[1], torch.tensor(1), reduction="sum")
    assert loss.sum.item() == pytest.approx(expected.item(), rel=1e-6)


def test_one_frame_and_empty_text_do_not_crash():
    share, loss, encoded, _ = run(build.batch([1, 120], {"a:text": [[2], []]}))
    assert encoded.lengths[0] == 0
    assert torch.isfinite(loss.sum) and loss.sum.item() > 0  # the empty text is all blanks
    assert share.metrics["unrepresentable"] == (1.0, 2.0)


def test_repeats_need_a_blank_between_them():
    batch = build.batch([100], {"a:text": [[3, 3, 3]]})
    assert not representable(batch, "a:text", np.array([4])).item()
    assert representable(batch, "a:text", np.array([5])).item()


@pytest.mark.parametrize("per, expected", [("token", 7.0), ("utterance", 3.0), ("frame", 29.0 + 21.0 + 18.0)])
def test_per(per, expected):
    objectives = {"asr_x": {"type": "ctc", "stream": "x", "tokens": "a", "per": per}}
    system = build.system(objectives=objectives)
    share, _, _, _ = run(build.batch([120, 90, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]]}), system=system)
    assert share.weight == expected


def upsampled(rate: int) -> System:
    return build.system(objectives={"asr_x": {"type": "ctc", "stream": "x", "tokens": "a", "upsampling": rate}})


def test_upsampling_writes_several_labels_per_state():
    """The loss is that of the labels in their order, each state's own ones side by side."""
    target = [[2, 3, 3, 4], [5, 6], [7]]
    share, loss, encoded, system = run(build.batch([120, 90, 77], {"a:text": target}), system=upsampled(3))
    head = system.objectives["asr_x"]
    log_probs, lengths = head.log_probs(encoded)
    assert lengths.tolist() == (3 * encoded.lengths).tolist()
    assert log_probs.shape[1] == 3 * encoded.states["output"].shape[1]
    parts = head.output(encoded.states["output"]).chunk(3, dim=2)  # of (B, T', V) each
    for label, part in enumerate(parts):
        assert torch.allclose(log_probs[:, label::3], part.log_softmax(2), atol=1e-6)
    total = 0.0
    for row, tokens in enumerate(target):
        sizes = lengths[row], torch.tensor(len(tokens))
        total += F.ctc_loss(log_probs[row, : lengths[row]], torch.tensor(tokens), *sizes, reduction="sum").item()
    assert loss.sum.item() == pytest.approx(total, rel=1e-6)


def test_upsampling_writes_targets_that_states_alone_are_too_few_for():
    batch = build.batch([40, 120], {"a:text": [list(range(1, 12)), [2]]})
    share, loss, _, system = run(batch, system=upsampled(2))
    assert share.metrics["unrepresentable"] == (0.0, 2.0) and share.weight == 12
    assert torch.isfinite(loss.sum)
    states = batch.drawn[VIEW].states
    assert system.objectives["asr_x"].representable(batch, states).tolist() == [True, True]
    assert representable(batch, "a:text", states).tolist() == [False, True]


def test_padding_changes_no_upsampled_loss():
    both, total = build.batch([120, 77], {"a:text": [[2, 3, 4], [7, 7]]}), 0.0
    for row, (frames, target) in enumerate([(120, [2, 3, 4]), (77, [7, 7])]):
        alone = build.batch([frames], {"a:text": [target]})
        alone.inputs["feats"] = both.inputs["feats"][row : row + 1, :frames]
        total += run(alone, system=upsampled(2), train=False)[1].sum.item()
    assert run(both, system=upsampled(2), train=False)[1].sum.item() == pytest.approx(total, rel=1e-9)


def test_upsampling_counts_dev_errors_on_all_its_labels():
    references = [[2, 3, 4], list(range(1, 12))]
    batch, system = build.batch([120, 40], {"a:text": references}), upsampled(2)
    _, _, encoded, _ = run(batch, system=system, train=False)
    log_probs, lengths = system.objectives["asr_x"].log_probs(encoded)
    paths = [collapse(log_probs[row, : lengths[row]].argmax(-1).tolist()) for row in range(2)]
    edits = sum(Levenshtein.distance(*pair) for pair in zip(paths, references, strict=True))
    assert build.dev_error(system, batch, "asr_x") == (edits, 14)


def test_a_shared_head_has_no_upsampling():
    objectives = {"asr_x": {"type": "ctc", "stream": "x", "tokens": "a", "head": "letters", "upsampling": 2}}
    model = {"encoder": {"type": "conformer", "blocks": 1, "dim": 8, "heads": 2}, "letters": {"type": "token_head"}}
    with pytest.raises(UserError, match="upsampling: 2: head letters writes one label per state"):
        build.system(objectives=objectives, model=model)


def test_dev_errors_are_those_of_every_reference():
    """Also of one that needs more states than there are, and of one without any; only a missing reference is no error."""
    references = [[2, 3, 4], list(range(1, 12)), None, [5, 6], []]
    batch, system = build.batch([120, 40, 90, 5, 60], {"a:text": references}), build.system()
    share, loss, encoded, _ = run(batch, system=system, train=False)
    log_probs, lengths = system.objectives["asr_x"].log_probs(encoded)
    assert lengths[3] == 0 and share.metrics["unrepresentable"] == (2.0, 4.0) and share.weight == 4
    edits = 0
    for row, reference in enumerate(references):
        if reference is not None:
            edits += Levenshtein.distance(collapse(log_probs[row, : lengths[row]].argmax(-1).tolist()), reference)
    assert build.dev_error(system, batch, "asr_x") == (edits, 16) and edits >= 2  # the tokens of the one without a state


def test_dev_errors_where_nothing_can_be_written():
    errors, count = build.dev_error(build.system(), build.batch([40, 5], {"a:text": [list(range(1, 12)), [2]]}), "asr_x")
    assert count == 12 and errors > 0


def test_collapse():
    assert collapse([0, 2, 2, 0, 2, 3, 3, 0]) == [2, 2, 3]
    assert collapse([]) == []
