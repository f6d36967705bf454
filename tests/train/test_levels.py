"""Levels in one step: chains with a factor each, known weights beside computed ones, one encoding of what several levels read."""

from __future__ import annotations

import pytest
import torch

from m2asr.moo.build import build_level
from m2asr.moo.min_norm import min_norm_weights
from m2asr.objectives.system import System
from m2asr.train.step import JointStep
from m2asr.train_config import Level
from tests.objectives import build
from tests.train.test_step import found_flat, gradients, reference

CHAIN = (["asr_x", "asr_y"], ["st_y"], ["cpc"])


def chain(system, *weightings, levels=CHAIN, apart=False):
    sections = [
        Level.model_validate({"objectives": names, "weighting": kind, "penalty": {"end": 0.1} if place else None})
        for place, (names, kind) in enumerate(zip(levels, weightings, strict=True))
    ]
    streams = {name: objective.stream for name, objective in build.config().objectives.items()}
    return JointStep(system.train(), streams, [build_level(one, apart, {}) for one in sections], dtype=torch.float32)


def flat(system, draw, name):
    found = reference(system, draw, name)
    return torch.cat([value.flatten() for key, value in found.items() if key.startswith("encoder.")])


def test_a_chain_of_static_levels():
    system, draw = build.system(), build.draw()
    step = chain(system, "static", "static", "static")
    assert 1 + sum(level.count for level in step.levels) == 1
    outcome = step([draw], 0, factors=[1.0, 0.3, 0.3 * 0.5])
    expected = flat(system, draw, "asr_x") + flat(system, draw, "asr_y")
    expected = expected + 0.3 * (flat(system, draw, "st_y") + 0.5 * flat(system, draw, "cpc"))
    assert torch.allclose(found_flat(system), expected, rtol=1e-9, atol=1e-12)
    assert outcome.weights == {"asr_x": 1.0, "asr_y": 1.0}
    for name in ("st_y", "cpc"):
        alone = reference(system, draw, name)
        for key, value in gradients(system).items():
            if key.startswith(f"objectives.{name}."):
                assert torch.allclose(value, alone[key], rtol=1e-9, atol=1e-12), key


def test_every_level_may_weigh_gradients():
    """Recognition above translation and CPC, both merged by MGDA: the weights of each level solve its own problem."""
    system, draw = build.system(), build.draw()
    levels = (["asr_x", "asr_y"], ["st_y", "cpc"])
    outcome = chain(system, "mgda", "mgda", levels=levels)([draw], 0, factors=[1.0, 0.4])
    expected = 0.0
    for factor, names in zip((1.0, 0.4), levels, strict=True):
        rows = torch.stack([flat(system, draw, name) for name in names])
        weights = min_norm_weights(rows @ rows.T)
        assert torch.allclose(torch.tensor([outcome.weights[name] for name in names], dtype=torch.float64), weights, atol=1e-9)
        expected = expected + factor * (weights @ rows)
    assert torch.allclose(found_flat(system), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("samples", [2, 3])
def test_a_level_of_one_draw_beside_one_of_several(samples):
    """asr_y takes two or three batches of stream y, st_y below it the mean over them."""
    system = build.system()
    draws = [build.draw(10 * index) for index in range(samples)]
    levels = (["asr_x", "asr_y"], ["st_y", "cpc"])
    outcome = chain(system, {"type": "modo", "samples": samples}, "mgda", levels=levels)(draws, 0, factors=[1.0, 0.4])
    used = [2] if samples == 3 else [0, 1]
    expected = sum(outcome.weights[name] * flat(system, draws[index], name) for index in used for name in levels[0]) / len(used)
    rows = torch.stack([sum(flat(system, draw, name) for draw in draws) / samples for name in levels[1]])
    weights = torch.tensor([outcome.weights[name] for name in levels[1]], dtype=torch.float64)
    assert torch.allclose(weights, min_norm_weights(rows @ rows.T), atol=1e-9)
    assert torch.allclose(found_flat(system), expected + 0.4 * (weights @ rows), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("weighting", ["static", "mgda"])
def test_gamma_zero_leaves_theta_to_the_levels_above(weighting):
    """Bit for bit; the heads of the lower levels still learn, and their weighting keeps its state."""
    system, draw = build.system(torch.float32), build.draw(dtype=torch.float32)
    levels = (["asr_x", "asr_y"], ["st_y", "cpc"])
    step = chain(system, weighting, "modo", levels=levels)
    state = step.levels[1].state_dict(step.rows)
    step([draw, draw], 0, factors=[1.0, 0.0])
    with_lower = gradients(system)
    assert step.levels[1].state_dict(step.rows) == state
    chain(system, weighting, levels=levels[:1])([draw, draw], 0, factors=[1.0])
    for key, value in gradients(system).items():
        if key.startswith(("encoder.", "objectives.asr")):
            assert torch.equal(value, with_lower[key]), key
        else:
            assert value is None and with_lower[key].abs().sum() > 0, key


def test_levels_encode_a_view_once(monkeypatch):
    seen = []
    encode = System.encode

    def counted(self, batch, view, taps):
        seen.append((batch.key, view))
        return encode(self, batch, view, taps)

    monkeypatch.setattr(System, "encode", counted)
    chain(build.system(), "mgda", "static", "static")([build.draw()], 0, factors=[1.0, 0.5, 0.25])
    assert len(seen) == len(set(seen)) == 2 + 2  # streams x and y whole, raw in two pieces


def test_conflicts_over_all_levels_where_gradients_are_kept_apart():
    """Static levels measure on request, with gradients that gamma does not scale; the update stays what it is."""
    system, draw = build.system(), build.draw()
    plain = chain(system, "static", "static", "static")
    plain([draw], 0, factors=[1.0, 0.3, 0.15])
    expected = found_flat(system)
    step = chain(system, "static", "static", "static", apart=True)
    assert 1 + sum(level.count for level in step.levels) == 1 + 4
    conflicts = step([draw], 0, factors=[1.0, 0.3, 0.15], measure=True).conflicts
    assert torch.allclose(found_flat(system), expected, rtol=1e-9, atol=1e-12)
    assert conflicts.names == ["asr_x", "asr_y", "st_y", "cpc"]
    rows = torch.stack([flat(system, draw, name) for name in conflicts.names])
    assert torch.allclose(conflicts.gramian, rows @ rows.T, rtol=1e-8, atol=1e-12)
    assert conflicts.merged == pytest.approx((rows[0] + rows[1]).norm().item())
    assert conflicts.pull == pytest.approx((0.3 * rows[2] + 0.15 * rows[3]).norm().item())
    assert step([draw], 1, factors=[1.0, 0.3, 0.15]).conflicts is None
    assert plain([draw], 0, factors=[1.0, 0.3, 0.15], measure=True).conflicts is None


def test_a_lower_objective_without_a_target_is_left_out():
    system, draw = build.system(), build.draw()
    draw["y"][0].target_lengths["a:text.x"].fill_(-1)
    outcome = chain(system, "mgda", "mgda", levels=(["asr_x", "asr_y"], ["st_y", "cpc"]))([draw], 0, factors=[1.0, 0.4])
    assert outcome.inactive == ["st_y"] and outcome.weights["st_y"] == 0 and outcome.weights["cpc"] == 1


@pytest.mark.parametrize("levels", [(["asr_x"], ["asr_y", "st_y"]), (["asr_x"], ["asr_y", "st_y"], ["cpc"])], ids=["two", "three"])
def test_conflicts_below_a_static_level_are_measured(levels):
    """Levels whose gradients are added up count as one: here the first, or the first and the third."""
    system, draw = build.system(), build.draw()
    kinds, factors = ["static", "mgda", "static"][: len(levels)], [1.0, 0.3, 0.15][: len(levels)]
    outcome = chain(system, *kinds, levels=levels)([draw], 0, factors=factors, measure=True)
    above = flat(system, draw, "asr_x") + (0.15 * flat(system, draw, "cpc") if len(levels) == 3 else 0)
    rows = torch.stack([flat(system, draw, "asr_y"), flat(system, draw, "st_y"), above])
    conflicts = outcome.conflicts
    assert conflicts.names == ["asr_y", "st_y", "asr_x+cpc" if len(levels) == 3 else "asr_x"]
    assert torch.allclose(conflicts.gramian, rows @ rows.T, rtol=1e-6, atol=1e-10)
    below = 0.3 * (outcome.weights["asr_y"] * rows[0] + outcome.weights["st_y"] * rows[1])
    assert conflicts.merged == pytest.approx(above.norm().item(), rel=1e-6)
    assert conflicts.pull == pytest.approx(below.norm().item(), rel=1e-6)
