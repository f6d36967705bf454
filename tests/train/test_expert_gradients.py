"""Gradients of a system of experts under every weighting: equal to one autograd.grad per objective.

Experts whose routers read an embedding network, a head that two objectives and the encoder's later blocks share, and regular losses.
"""

from __future__ import annotations

import pytest
import torch

from tests.objectives import build
from tests.train.test_brute_force import ENCODER, GAMMA, KINDS, alone, step_of

WRITER = {"type": "transformer", "blocks": 1, "dim": 16, "dropout": 0.0}
CTC = {"type": "ctc", "stream": "x", "tokens": "a"}
OBJECTIVES = {
    "output": {**CTC, "head": "tokens"},
    "middle": {**CTC, "head": "tokens", "tap": "block1", "decode": False},
    "written": {"type": "attention", "stream": "x", "tokens": "b", "text": "text.b", "decoder": WRITER},
    "cpc": {"type": "cpc", "stream": "raw", "level": "lower", "context": 0.4, "future": 0.3},
    "sounds_ctc": {**CTC, "tap": "sounds", "role": "regular", "decode": False},
    "balance": {"type": "balance", "stream": "x", "role": "regular", "switch": 0.1, "z": 0.01},
}
STREAMS = {name: section["stream"] for name, section in OBJECTIVES.items()}
REGULAR = {"sounds_ctc": 0.3, "balance": 0.15}
LEVELS = [["output", "middle", "written"], ["cpc"]]


def system():
    experts = {"count": 3, "top": 2, "embedding": "sounds", "mean": True, "scale": "straight"}
    model = {
        "encoder": {**ENCODER, "experts": experts, "condition": {"blocks": [1], "head": "tokens"}},
        "sounds": {**ENCODER, "blocks": 1},
        "tokens": {"type": "token_head"},
        "cmvn": "none",
        "specaugment": None,
    }
    streams = {"x": {"sets": ["x"]}, "raw": {"sets": ["x"]}}
    return build.system(model=model, objectives=OBJECTIVES, streams=streams).train()


def draw(seed: int):
    x = build.batch([120, 90, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]], "b:text.b": [[1, 2], [3], [4, 5, 6]]}, seed)
    return {"x": [x], "raw": [build.batch([130, 100, 99, 40], {}, seed + 2)]}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "features"])
def test_gradients_of_every_parameter(kind):
    made, levels = system(), LEVELS[:1] if kind == "krum" else LEVELS  # Krum needs three objectives on a level
    step = step_of(made, levels, kind, ("encoder",), REGULAR, STREAMS)
    assert set(step.theta) == {"encoder", "tokens"}
    draws = [draw(10 * number) for number in range(step.levels[0].draws)]
    outcome = step(draws, 0, GAMMA[: len(levels)])
    assert outcome.problem is None and not outcome.inactive
    used = draws[2:] if kind == "modo3" else draws
    names = [*REGULAR, *(name for level in levels for name in level)]
    each = {name: [alone(made, batches, name, STREAMS) for batches in draws] for name in names}
    merged = {**dict.fromkeys(names, 1.0), **(outcome.weights if kind != "static" else {})}
    factors = {name: factor * merged[name] for factor, level in zip(GAMMA, levels, strict=False) for name in level}
    for key, param in made.named_parameters():
        theta = key.split(".")[0] in step.theta
        expected = torch.zeros_like(param)
        for name, found in each.items():
            batches = found if name in REGULAR or not theta else found[-len(used) :]
            scale = REGULAR.get(name, factors.get(name, 1.0) if theta else 1.0)
            expected = expected + scale * sum(gradient[key] for gradient in batches) / len(batches)
        if kind == "layers" and theta:  # averaged where nothing is in conflict
            continue
        got = torch.zeros_like(param) if param.grad is None else param.grad
        torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-11, msg=key)
    for module in ("encoder", "sounds", "tokens"):
        assert sum(float(param.grad.abs().sum()) for param in getattr(made, module).parameters()) > 0
