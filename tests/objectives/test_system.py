"""The system: padding, utterance independence, seeds, normalization."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from m2asr.errors import UserError
from m2asr.objectives.system import resolve
from m2asr.objectives.view import View
from tests.objectives import build


def states(system, one, seed=0, view=None):
    return system.encode(one, view or View(), seed).states["output"]


@pytest.mark.parametrize("cmvn", ["global", "utterance", "none"])
def test_padding_and_neighbours_change_no_state(cmvn):
    system = build.system()
    system.cmvn = cmvn
    system.eval()
    together = build.batch([120, 90, 41], {})
    for row, length in enumerate([120, 90, 41]):
        alone = dataclasses.replace(
            together, inputs={"feats": together.inputs["feats"][row : row + 1, :length]}, lengths={"feats": torch.tensor([length])}
        )
        expected = states(system, alone)[0]
        assert torch.allclose(states(system, together)[row, : len(expected)], expected, atol=1e-10)


def test_equal_seeds_give_equal_noise_whatever_came_before():
    model = build.config().model.model_dump()
    model["encoder"]["dropout"], model["specaugment"] = 0.2, {"time_width": 20}
    system = build.system(model=model).train()
    one = build.batch([120, 90], {})
    first = states(system, one, seed=5)
    torch.rand(17)
    assert torch.equal(first, states(system, one, seed=5))
    assert not torch.equal(first, states(system, one, seed=6))
    assert torch.equal(states(system, one, view=View(train=False)), states(system.eval(), one))


def test_resolve_fills_in_defaults_and_refuses_what_is_not_there():
    config = build.config()
    assert config.model.encoder.options()["ff_mult"] == 4
    assert config.objectives["cpc"].options()["temperature"] == 0.1
    assert resolve(config) == config
    objectives = {"asr_x": {"type": "ctc", "stream": "x", "tokens": "a", "tapp": "output"}}
    with pytest.raises(UserError, match="objectives.asr_x: tapp: unknown key; did you mean `tap`"):
        build.config(objectives=objectives)
    with pytest.raises(UserError, match="did you mean `ctc`"):
        build.config(objectives={"asr_x": {"type": "ctcc", "stream": "x"}})


def test_every_parameter_is_in_one_group():
    system = build.system()
    names = [name for group in system.groups().values() for name, _ in group]
    assert sorted(names) == sorted(name for name, _ in system.named_parameters())
    assert all(name.startswith("objectives.cpc") for name, _ in system.groups()["ssl"])
