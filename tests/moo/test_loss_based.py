"""Weights from losses: uncertainty, DWA, FAMO."""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.dwa import DWA
from m2asr.moo.famo import FAMO
from m2asr.moo.uncertainty import Uncertainty
from m2asr.moo.weighting import Weighting
from tests.moo.quadratics import NAMES, gradients, losses, start

LOSSES = {"a": 1.0, "b": 2.0, "c": 4.0}


@pytest.mark.parametrize("weighting", [Uncertainty(NAMES), DWA(NAMES, window=10), FAMO(NAMES)], ids=["uncertainty", "dwa", "famo"])
def test_descends_to_the_pareto_front(weighting: Weighting) -> None:
    theta = start(0)
    for _ in range(600):
        weights = weighting.weights()
        theta = theta - 0.1 * weights @ gradients(theta)
        weighting.after_step(dict(zip(NAMES, losses(theta).tolist(), strict=True)))
        assert (weights > 0).all() and abs(weights.sum() - 1) < 1e-12
    assert (weights @ gradients(theta)).norm() < 0.02


def test_uncertainty_settles_at_the_inverse_of_the_loss() -> None:
    weighting = Uncertainty(NAMES, rate=0.05)
    assert weighting.weights().tolist() == pytest.approx([1 / 3] * 3)
    for _ in range(500):
        weighting.after_step(LOSSES)
    assert weighting.weights().tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=1e-3)
    assert weighting.weights(active=[0, 2]).tolist() == pytest.approx([4 / 5, 0, 1 / 5], abs=1e-3)


def test_uncertainty_agrees_with_torchjd() -> None:
    scalarization = pytest.importorskip("torchjd.scalarization", reason="torchjd is not installed (extra `moo`)")
    theirs, ours = scalarization.UW(3).double(), Uncertainty(NAMES, rate=0.05)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.05)
    for step in range(30):
        values = {name: loss * (1 + step % 3) for name, loss in LOSSES.items()}
        adam.zero_grad()
        theirs(torch.tensor(list(values.values()), dtype=torch.float64)).backward()
        adam.step()
        ours.after_step(values)
    torch.testing.assert_close(ours.weights(), torch.softmax(-theirs.log_var.detach(), 0), atol=1e-12, rtol=0)


def test_dwa_is_its_equation_and_torchjds() -> None:
    weighting = DWA(NAMES, temperature=2.0, window=2)
    rows = [{"a": 4.0, "b": 2.0, "c": 3.0}, {"a": 2.0, "b": 2.0, "c": 1.0}, {"a": 1.5, "b": 2.0, "c": 1.0}, {"a": 1.5, "b": 2.0, "c": 3.0}]
    for row in rows:
        assert weighting.weights().tolist() == pytest.approx([1 / 3] * 3)
        weighting.after_step(row)
    expected = torch.softmax(torch.tensor([1.5 / 3, 1.0, 1.0], dtype=torch.float64) / 2, 0)
    torch.testing.assert_close(weighting.weights(), expected)
    scalarization = pytest.importorskip("torchjd.scalarization", reason="torchjd is not installed (extra `moo`)")
    theirs = scalarization.DWA(temperature=2.0)
    for place, row in enumerate(rows):
        theirs(torch.tensor(list(row.values()), dtype=torch.float64))
        if place % 2:
            theirs.step()
    torch.testing.assert_close(weighting.weights(), theirs._compute_weights(torch.ones(3, dtype=torch.float64)) / 3)


def test_dwa_counts_the_steps_of_each_objective() -> None:
    weighting = DWA(NAMES, window=2)
    for step in range(4):
        weighting.after_step({"a": 2.0 if step < 2 else 1.0, "b": 1.0})
    assert weighting.weights().tolist() == pytest.approx([1 / 3] * 3)  # nothing is known of c
    weights = weighting.weights(active=[0, 1])
    assert weights[2] == 0 and weights[0] < weights[1]


def test_famo_agrees_with_torchjd() -> None:
    scalarization = pytest.importorskip("torchjd.scalarization", reason="torchjd is not installed (extra `moo`)")
    theirs, ours = scalarization.FAMO(3).double(), FAMO(NAMES)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(40, 3, dtype=torch.float64, generator=generator) + 0.5
    for before, after in zip(values, values[1:], strict=False):
        theirs(before)
        theirs.update(after)
        ours.after_step(dict(zip(NAMES, before.tolist(), strict=True)))
    ours.after_step(dict(zip(NAMES, values[-1].tolist(), strict=True)))
    shares = torch.softmax(theirs._w.detach(), 0) / values[-1]
    torch.testing.assert_close(ours.weights(), shares / shares.sum(), atol=1e-6, rtol=0)


def test_famo_prefers_the_loss_that_falls_slowest() -> None:
    weighting = FAMO(NAMES)
    for step in range(100):
        weighting.after_step({"a": 0.9**step, "b": 0.99**step, "c": 0.9**step})
    shares = torch.softmax(weighting._logits[NAMES], 0)
    assert shares[1] > 0.5 and shares[0] == pytest.approx(float(shares[2]))


@pytest.mark.parametrize("weighting", [Uncertainty(NAMES), FAMO(NAMES), DWA(NAMES)], ids=["uncertainty", "famo", "dwa"])
def test_objectives_without_a_loss_keep_their_state(weighting: Weighting) -> None:
    for _ in range(3):
        weighting.after_step(LOSSES)
    before = weighting.state_dict()
    weighting.after_step({"a": 3.0, "c": 1.0})
    after = weighting.state_dict()
    one, other = (state.get("logits", state).get("values", state.get("open")) for state in (before, after))
    assert one["b"] == other["b"] and one["a"] != other["a"]


def test_learned_state_is_by_name() -> None:
    one, other = Uncertainty(NAMES), Uncertainty(["c", "a", "b"])
    for _ in range(5):
        one.after_step(LOSSES)
    other.load_state_dict(one.state_dict())
    for weighting in (one, other):
        weighting.after_step({"a": 1.0, "b": 3.0, "c": 1.0})
    torch.testing.assert_close(other.weights(), one.weights()[[2, 0, 1]], rtol=0, atol=0)


@pytest.mark.parametrize(
    "kind, options", [(Uncertainty, {"rate": -1.0}), (FAMO, {"decay": -1.0}), (DWA, {"temperature": 0.0}), (DWA, {"window": 0})]
)
def test_impossible_options_are_refused(kind: type, options: dict) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        kind(NAMES, **options)
