"""Every way from a loss into theta carries lambda and gamma, and nothing else does: equal to one autograd.grad per objective.

Objectives at the output and in the middle of the encoder, on masked states and on text, with a shared decoder inside theta and outside it.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from m2asr.data.batch import Batch
from m2asr.moo import WEIGHTINGS
from m2asr.moo.build import build_level
from m2asr.moo.min_norm import kkt_residual
from m2asr.moo.moco import MoCo
from m2asr.moo.modo import MoDo
from m2asr.objectives.objective import Loss, Objective
from m2asr.objectives.view import View
from m2asr.seeds import seed_of
from m2asr.train.step import JointStep
from m2asr.train_config import Level, TrainConfig
from tests.objectives import build

SMALL = {"type": "transformer", "blocks": 1, "dim": 16, "heads": 2, "dropout": 0.0}
ENCODER = {"type": "conformer", "blocks": 2, "dim": 16, "heads": 2, "kernel": 5, "subsampling": "windows", "dropout": 0.0}
MODEL = {
    "encoder": ENCODER,
    "writer": SMALL,
    "letters": {"type": "embedding", "tokens": "a"},
    "mask": {"type": "mask_vector"},
    "cmvn": "none",
    "specaugment": None,
}
OBJECTIVES = {
    "output": {"type": "ctc", "stream": "x", "tokens": "a"},
    "middle": {"type": "ctc", "stream": "x", "tokens": "a", "tap": "block1"},
    "masked": {"type": "ctc", "stream": "x", "tokens": "a", "view": {"mask": {"probability": 0.2, "length": 3, "vector": "mask"}}},
    "written": {"type": "attention", "stream": "x", "tokens": "b", "text": "text.b", "decoder": "writer"},
    "from_text": {
        "type": "attention",
        "stream": "t",
        "tokens": "b",
        "decoder": "writer",
        "decode": False,
        "view": {"input": "a", "embed": "letters", "start": 1},
    },
    "cpc": {"type": "cpc", "stream": "raw", "context": 0.4, "future": 0.3},
}
LEVELS = {
    "one": [["output", "middle", "masked", "written", "from_text"]],
    "penalty": [["output", "masked", "written", "from_text"], ["cpc", "middle"]],
    "three": [["output", "written"], ["middle", "from_text"], ["masked", "cpc"]],
}
GAMMA = [1.0, 0.3, 0.15]
KINDS = {
    "static": {"type": "static"},
    "mgda": {"type": "mgda"},
    "modo2": {"type": "modo"},
    "modo3": {"type": "modo", "samples": 3},
    "moco": {"type": "moco"},
    "pcgrad": {"type": "pcgrad"},
    "layers": {"type": "mgda", "layers": "conflicting"},
    "features": {"type": "mgda", "gradients": "features"},
}
KINDS |= {name: {"type": name} for name in WEIGHTINGS if name not in KINDS and name != "modo"}


class Energy(Objective):
    """A loss without a target on states of two taps, one of them before the blocks; with a head on one of them."""

    metrics = ("mean",)

    def __init__(self, dim: int) -> None:
        super().__init__([(View(), "frontend"), (View(), "block2")])
        self.head = nn.Linear(dim, 3)

    def share(self, batch, rng):
        from m2asr.data.batch import Share

        return Share(float(len(batch)))

    def forward(self, encoded, share):
        states = encoded[self.views[0]].states
        loss = states["frontend"].square().mean() + self.head(states["block2"]).square().mean()
        return Loss(loss, {"mean": (loss.detach(), 1.0)})


def config() -> TrainConfig:
    streams = {"x": {"sets": ["x"]}, "t": {"sets": ["t"]}, "raw": {"sets": ["x"]}}
    merged = {name: {**section, **({"level": "lower"} if name == "cpc" else {})} for name, section in OBJECTIVES.items()}
    return build.config(model=MODEL, streams=streams, objectives=merged)


def system():
    torch.manual_seed(0)
    made = build.build_system(config(), build.VOCAB, feat_dim=8)
    made.objectives["energy"] = Energy(16)
    return made.double().train()


def draw(seed: int) -> dict[str, list[Batch]]:
    x = build.batch([120, 90, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]], "b:text.b": [[1, 2], [3], [4, 5, 6]]}, seed)
    raw = build.batch([130, 100, 99, 40], {}, seed + 2, ["en", "en", "it", "it"])
    text = build.batch([1, 1], {"b:text": [[3, 4], [5, 6, 7]]}, seed + 1)
    text.inputs, text.lengths = {"a:text": torch.tensor([[2, 3, 4, 0, 0], [5, 6, 7, 8, 9]])}, {"a:text": torch.tensor([3, 5])}
    return {"x": [x], "t": [text], "raw": [raw]}


STREAMS = {name: section["stream"] for name, section in OBJECTIVES.items()} | {"energy": "x"}


def alone(made, batches, name, streams=STREAMS):
    """Gradient of one objective over all parameters, by autograd."""
    (batch,) = batches[streams[name]]
    made.prepare(batch, [name])
    objective = made.objectives[name]
    encoded = {view: made.encode(batch, view, {tap for other, tap in objective.reads if other == view}) for view in objective.views}
    torch.manual_seed(seed_of(*batch.key, name))
    loss = objective(encoded, batch.shares[name]).sum / batch.shares[name].weight
    named = dict(made.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {key: torch.zeros_like(p) if g is None else g for (key, p), g in zip(named.items(), gradients, strict=True)}


def gradient_rows(made, batches, names, theta):
    """Gradients of objectives on theta, as rows."""
    each = [alone(made, batches, name) for name in names]
    return torch.stack([torch.cat([gradients[key].flatten() for key in theta]) for gradients in each])


def step_of(made, levels, kind, over, regular=None, streams=STREAMS):
    sections = [
        Level.model_validate({"objectives": names, "weighting": KINDS[kind], "penalty": {"end": 0.1} if number else None})
        for number, names in enumerate(levels)
    ]
    reads = {name: (streams[name], *made.objectives[name].reads) for name in streams}
    return JointStep(made, streams, [build_level(section, False, reads) for section in sections], torch.float64, regular, over)


OVERS = (("encoder",), ("encoder", "writer"))
ENCODER_ALONE = {"features"} | {name for name in KINDS if KINDS[name] == {"type": name}} - {"static", "mgda", "moco", "pcgrad"}
CASES = [case for case in itertools.product(KINDS, LEVELS, OVERS) if case[0] not in ENCODER_ALONE or case[2] == ("encoder",)]
CASES = [case for case in CASES if case[0] != "krum" or case[1] == "one"]  # Krum needs three objectives on a level


@pytest.mark.parametrize(("kind", "levels", "over"), CASES, ids=lambda value: value if isinstance(value, str) else "+".join(value))
def test_gradients_of_every_parameter(kind, levels, over):
    made = system()
    names = [["energy", *LEVELS[levels][0]], *LEVELS[levels][1:]]
    step = step_of(made, names, kind, over)
    draws = [draw(10 * number) for number in range(step.levels[0].draws)]
    outcome = step(draws, 0, GAMMA[: len(names)])
    assert outcome.problem is None and not outcome.inactive
    used = draws[2:] if kind == "modo3" else draws
    each = {name: [alone(made, batches, name) for batches in draws] for level in names for name in level}
    theta = [key for key, _ in made.named_parameters() if key.split(".")[0] in {*over, "letters", "mask"}]
    assert set(step.theta) == {*over, "letters", "mask"}
    merged = outcome.weights if kind != "static" else {name: 1.0 for name in each}
    for key, param in made.named_parameters():
        expected = torch.zeros_like(param)
        for factor, level in zip(GAMMA, names, strict=False):
            for name in level:
                found = each[name][-len(used) :] if key in theta else each[name]
                scale = factor * merged[name] if key in theta else 1.0
                expected = expected + scale * sum(gradient[key] for gradient in found) / len(found)
        if kind == "layers" and key in theta:  # averaged where nothing is in conflict
            continue
        got = torch.zeros_like(param) if param.grad is None else param.grad
        assert torch.allclose(got, expected, rtol=1e-7, atol=1e-11), key
    if kind == "mgda":
        for level in names:
            rows = torch.stack([torch.cat([each[name][0][key].flatten() for key in theta]) for name in level])
            weights = torch.tensor([outcome.weights[name] for name in level], dtype=torch.float64)
            assert kkt_residual(rows @ rows.T, weights) <= 1e-8


@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize("over", [("encoder",), ("encoder", "writer")], ids="+".join)
def test_gamma_zero_is_training_without_the_lower_level(gamma, over):
    """Bit for bit on theta; the lower objectives' own heads keep their plain gradient."""
    found = {}
    for names in (LEVELS["penalty"], LEVELS["penalty"][:1]):
        made = system()
        step_of(made, names, "static", over)([draw(0)], 0, [1.0, gamma][: len(names)])
        found[len(names)] = {key: param.grad for key, param in made.named_parameters()}
    inside = [key for key in found[1] if key.split(".")[0] in {*over, "letters", "mask"}]
    equal = [torch.equal(found[1][key], found[2][key]) for key in inside]
    assert all(equal) if gamma == 0 else not all(equal)
    assert found[2]["objectives.middle.output.weight"].abs().sum() > 0 and found[1]["objectives.middle.output.weight"] is None


@pytest.mark.parametrize("kind", ["static", "mgda", "modo2", "modo3", "features"])
def test_a_regular_objective_is_added_as_it_is(kind):
    """Its weight multiplies what it gives to every parameter; lambda is that of the others."""
    found = []
    for regular in ({}, {"energy": 0.15}):
        made = system()
        step = step_of(made, [["output", "middle", "written"]], kind, ("encoder",), regular)
        draws = [draw(10 * number) for number in range(step.levels[0].draws)]
        found.append((step(draws, 0, [1.0]).weights, {key: p.grad for key, p in made.named_parameters()}))
    (weights, before), (same, after) = found
    assert weights == pytest.approx(same, rel=1e-9) and "energy" not in same
    energy = [alone(made, batches, "energy") for batches in draws]
    for key in before:
        added = 0.15 * sum(gradient[key] for gradient in energy) / len(draws)
        expected = added if before[key] is None else before[key] + added
        got = torch.zeros_like(expected) if after[key] is None else after[key]
        assert torch.allclose(got, expected, rtol=1e-7, atol=1e-11), key


def test_theta_may_be_the_decoder_alone():
    """Then the encoder is what a head is: it gets the plain sum."""
    made = system()
    step = step_of(made, [["written", "from_text"]], "mgda", ("writer",))
    outcome = step([draw(0)], 0, [1.0])
    each = {name: alone(made, draw(0), name) for name in ("written", "from_text")}
    for key, param in made.named_parameters():
        scale = outcome.weights if key.startswith("writer.") else dict.fromkeys(each, 1.0)
        expected = sum(scale[name] * gradient[key] for name, gradient in each.items())
        got = torch.zeros_like(param) if param.grad is None else param.grad
        assert torch.allclose(got, expected, rtol=1e-8, atol=1e-12), key


@pytest.mark.parametrize("options", [{"step": 0.5}, {"step": 1e-3, "scale": "none"}], ids=["auto", "none"])
def test_modo_with_three_batches_follows_its_formula_over_steps(options):
    """lambda <- Proj(lambda - step G_1 (G_2^T lambda)) from gradients by autograd, whose scale counts."""
    names, made = ["output", "middle", "written"], system()
    reads = {name: (STREAMS[name], *made.objectives[name].reads) for name in STREAMS}
    section = Level.model_validate({"objectives": names, "weighting": {"type": "modo", "samples": 3, **options}})
    step = JointStep(made, STREAMS, [build_level(section, False, reads)], torch.float64)
    expected = MoDo(names, options["step"], 0.0, options.get("scale", "auto"))
    theta = [key for key, _ in made.named_parameters() if key.split(".")[0] in step.theta]
    for number in range(3):
        outcome = step([draw(100 * number + 10 * index) for index in range(3)], number, [1.0])
        first, second = (gradient_rows(made, draw(100 * number + seed), names, theta) for seed in (0, 10))
        weights = expected.weights(first @ second.T, None, first.square().sum(1))
        assert [outcome.weights[name] for name in names] == pytest.approx(weights.tolist(), rel=1e-6)
    assert max(outcome.weights.values()) - min(outcome.weights.values()) > 0.02


def test_moco_weighs_the_means_that_hold_the_newest_gradients():
    names, made = ["output", "middle", "written"], system()
    reads = {name: (STREAMS[name], *made.objectives[name].reads) for name in STREAMS}
    section = Level.model_validate({"objectives": names, "weighting": {"type": "moco", "beta": 0.5, "step": 0.5}})
    step = JointStep(made, STREAMS, [build_level(section, False, reads)], torch.float64)
    expected, means = MoCo(names, 0.5, beta=0.5), None
    theta = [key for key, _ in made.named_parameters() if key.split(".")[0] in step.theta]
    for number in range(3):
        outcome = step([draw(10 * number)], number, [1.0])
        rows = gradient_rows(made, draw(10 * number), names, theta)
        means = rows if means is None else means + 0.5 * (rows - means)
        weights = expected.weights(means @ means.T)
        assert [outcome.weights[name] for name in names] == pytest.approx(weights.tolist(), rel=1e-6)
