"""Weights used again for some steps, and weights for conflicting layers alone."""

from __future__ import annotations

import pytest
import torch

from m2asr.moo.layers import layers_of
from m2asr.moo.plan import MERGED
from m2asr.train.passes import Passes
from tests.objectives import build
from tests.train.test_step import UPPER, flat, found_flat, gradients, joint, reference


@pytest.mark.parametrize("weighting", [{"type": "mgda"}, {"type": "modo"}, {"type": "modo", "samples": 3}], ids=["mgda", "modo2", "modo3"])
def test_weights_are_used_again_on_all_the_data_of_a_step(weighting, monkeypatch):
    system = build.system()
    step = joint(system, weighting, every=3)
    separate = []
    monkeypatch.setattr(Passes, "run", _counted(separate))
    count, weights = step.levels[0].weighting.draws, []
    for number in range(6):
        draws = [build.draw(10 * (number + index)) for index in range(count)]
        outcome = step(draws, number, factors=(1, 0.0))
        weights.append(list(outcome.weights.values()))
        if number in (1, 3, 4):  # not due
            expected = sum(outcome.weights[name] * flat(system, draw, name) for draw in draws for name in UPPER)
            assert torch.allclose(found_flat(system), expected / count, rtol=1e-8, atol=1e-12)
    assert weights[0] == weights[1] != weights[2] == weights[3] == weights[4] != weights[5]
    assert len(separate) == 3 * {1: 3, 2: 2 * 3, 3: 3 + 1}[count]  # rows apart in the steps that are due


def _counted(calls):
    original = Passes.run

    def run(self, todo, *args):
        calls.extend(row for row in todo.rows if row != MERGED)
        return original(self, todo, *args)

    return run


def test_reused_weights_are_found_anew_when_an_objective_leaves():
    system = build.system()
    step = joint(system, {"type": "mgda"}, every=100)
    step([build.draw()], 0, factors=(1, 0.0))
    draw = build.draw(10)
    draw["y"][0].target_lengths["a:text.x"].fill_(-1)
    outcome = step([draw], 1, factors=(1, 0.0))
    assert outcome.weights["st_y"] == 0 and sum(outcome.weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("weighting", [{"type": "mgda"}, {"type": "modo"}, {"type": "moco"}], ids=["mgda", "modo", "moco"])
def test_only_conflicting_layers_are_weighted(weighting):
    """asr_x and asr_y agree in all layers of this system but the last; st_y has no target."""
    system = build.system()
    step = joint(system, weighting, layers="conflicting")
    assert len(step.layers) == len(layers_of({"encoder": system.encoder})) == 3
    draws = [build.draw(10 * seed) for seed in range(step.levels[0].weighting.draws)]
    for draw in draws:
        draw["y"][0].target_lengths["a:text.x"].fill_(-1)
    outcome = step(draws, 0, factors=(1, 0.0))
    found = gradients(system)
    weights = {name: outcome.weights[name] for name in UPPER[:2]}
    assert outcome.weights["st_y"] == 0 and abs(weights["asr_x"] - 0.5) > 1e-4 and sum(weights.values()) == pytest.approx(1)
    alone = [{name: reference(system, draw, name) for name in weights} for draw in draws]
    rows = {}
    for layer in ("subsampling", "blocks.0", "blocks.1"):
        keys = [key for key in found if key.startswith(f"encoder.{layer}.")]
        rows[layer] = [torch.stack([torch.cat([one[name][key].flatten() for key in keys]) for name in weights]) for one in alone]
        product = float(rows[layer][0][0] @ rows[layer][0][1])
        assert (product < 0) == (layer == "blocks.1")
        lam = torch.tensor(list(weights.values()) if product < 0 else [0.5, 0.5], dtype=torch.float64)
        expected = sum(lam @ one for one in rows[layer]) / len(draws)
        assert torch.allclose(torch.cat([found[key].flatten() for key in keys]), expected, rtol=1e-8, atol=1e-12), layer
    # the weighting has seen the conflicting layer alone
    twin = joint(build.system(), weighting).levels[0].weighting
    first, last = torch.zeros(2, 3, rows["blocks.1"][0].shape[1], dtype=torch.float64)
    first[:2], last[:2] = rows["blocks.1"][0], rows["blocks.1"][-1]
    expected = twin.weights(first @ last.T, [0, 1], first.square().sum(1))
    assert torch.allclose(torch.tensor(list(outcome.weights.values()), dtype=torch.float64), expected, atol=1e-6)


def test_layers_without_conflict_leave_the_weighting_as_it_is():
    system, draw = build.system(), build.draw()
    del draw["y"]
    step = joint(system, {"type": "modo"}, layers="conflicting")
    before = step.levels[0].weighting.state_dict()
    outcome = step([draw, draw], 0, factors=(1, 0.0))
    assert outcome.weights == {"asr_x": 1.0, "asr_y": 0.0, "st_y": 0.0}
    assert step.levels[0].weighting.state_dict() == before
