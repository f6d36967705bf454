"""A transducer beside other objectives: the gradient of every parameter equals one autograd.grad per objective.

Predictor and joiner, shared by two languages, are outside theta or inside it.
"""

from __future__ import annotations

import pytest
import torch

from m2asr.data.batch import Batch
from m2asr.moo.build import build_level
from m2asr.moo.min_norm import kkt_residual
from m2asr.seeds import seed_of
from m2asr.train.step import JointStep
from m2asr.train_config import Level
from tests.objectives import build

OBJECTIVES = {
    "ctc": {"type": "ctc", "stream": "x", "tokens": "a"},
    "clean": {"type": "transducer", "stream": "x", "tokens": "a", "predictor": "texts", "joiner": "join"},
    "masked": {
        "type": "transducer",
        "stream": "x",
        "tokens": "a",
        "predictor": "texts",
        "joiner": "join",
        "tap": "block1",
        "decode": False,
        "view": {"mask": {"probability": 0.2, "length": 3}},
    },
    "other": {"type": "transducer", "stream": "y", "tokens": "a", "text": "text.x", "predictor": "texts", "joiner": "join", "prune": 2},
}
STREAMS = {name: section["stream"] for name, section in OBJECTIVES.items()}
OVERS = (("encoder",), ("encoder", "join"), ("encoder", "texts", "join"), ("texts",))
LEVELS = {"one": [["ctc", "clean", "masked", "other"]], "two": [["ctc", "clean"], ["masked", "other"]]}
GAMMA = [1.0, 0.3]


def system():
    model = build.config().model.model_dump()
    model |= {"texts": {"type": "lstm_predictor", "layers": 1, "dim": 8, "dropout": 0.0}, "join": {"type": "joiner", "dim": 12}}
    return build.system(model=model, objectives=OBJECTIVES, penalty=None).train()


def draw() -> dict[str, list[Batch]]:
    return {name: batches for name, batches in build.draw().items() if name in ("x", "y")}


def alone(model, name):
    """Gradient of one objective over all parameters, by autograd."""
    (batch,) = draw()[STREAMS[name]]
    _, _, encoded = build.learn(model, batch, name)
    torch.manual_seed(seed_of(*batch.key, name))
    loss = model.objectives[name](encoded, batch.shares[name]).sum / batch.shares[name].weight
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {key: torch.zeros_like(p) if g is None else g for (key, p), g in zip(named.items(), gradients, strict=True)}


@pytest.mark.parametrize("over", OVERS, ids="+".join)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("kind", ["static", "mgda"])
def test_gradients_of_every_parameter(kind, levels, over):
    model, names = system(), [[name for name in level if over != ("texts",) or name != "ctc"] for level in LEVELS[levels]]
    sections = [
        Level.model_validate({"objectives": level, "weighting": {"type": kind}, "penalty": {"end": 0.1} if number else None})
        for number, level in enumerate(names)
    ]
    streams = {name: STREAMS[name] for level in names for name in level}
    reads = {name: (STREAMS[name], *model.objectives[name].reads) for name in streams}
    step = JointStep(model, streams, [build_level(section, False, reads) for section in sections], torch.float64, None, over)
    outcome = step([draw()], 0, GAMMA[: len(names)])
    assert outcome.problem is None and not outcome.inactive and set(step.theta) == set(over)
    each = {name: alone(model, name) for name in streams}
    lambdas = outcome.weights if kind == "mgda" else dict.fromkeys(streams, 1.0)
    theta = [key for key, _ in model.named_parameters() if key.split(".")[0] in over]
    for key, parameter in model.named_parameters():
        expected = sum(
            (factor * lambdas[name] if key in theta else 1.0) * each[name][key]
            for factor, level in zip(GAMMA, names, strict=False)
            for name in level
        )
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert torch.allclose(gradient, expected, rtol=1e-7, atol=1e-11), key
    if kind == "mgda":
        for level in names:
            rows = torch.stack([torch.cat([each[name][key].flatten() for key in theta]) for name in level])
            assert kkt_residual(rows @ rows.T, torch.tensor([lambdas[name] for name in level], dtype=torch.float64)) <= 1e-8
