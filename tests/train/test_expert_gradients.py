"""Gradients of a system of experts under every weighting: equal to one autograd.grad per objective.

Experts whose routers read an embedding network, a head that two objectives and the encoder's later blocks share, and regular losses.
"""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.build import build_level
from m2asr.moo.plan import MERGED
from m2asr.train.step import JointStep
from m2asr.train_config import Level
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


@pytest.mark.parametrize("kind", ["static", "mgda", "modo2"])
def test_experts_of_languages(kind):
    """An expert gets the merged gradient of the utterances in its language."""
    encoder = {**ENCODER, "experts": {"count": 3, "router": "language", "languages": ["en", "it"]}}
    objectives, streams = {"asr": CTC, "cpc": OBJECTIVES["cpc"]}, {"asr": "x", "cpc": "raw"}
    model = {"encoder": encoder, "cmvn": "none", "specaugment": None}
    made = build.system(model=model, objectives=objectives, streams={"x": {"sets": ["x"]}, "raw": {"sets": ["x"]}}).train()
    step = step_of(made, [["asr", "cpc"]], kind, ("encoder",), {}, streams)
    draws = []
    for number in range(step.levels[0].draws):
        x = build.batch([120, 90, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]]}, number, langs=["it", "en", "it"])
        raw = build.batch([150, 140, 99], {}, number + 2, langs=["ru", "it", "ru"])
        draws.append({"x": [x], "raw": [raw]})
    outcome = step(draws, 0, GAMMA[:1])
    each = {name: [alone(made, batches, name, streams) for batches in draws] for name in streams}
    weights = {**dict.fromkeys(streams, 1.0), **(outcome.weights if kind != "static" else {})}
    for key, param in made.named_parameters():
        theta = key.startswith("encoder.")
        expected = sum((weights[name] if theta else 1.0) * sum(found[key] for found in each[name]) / len(draws) for name in streams)
        torch.testing.assert_close(param.grad, expected, rtol=1e-7, atol=1e-11, msg=key)
    norms = {name: each[name][0]["encoder.blocks.0.feed_forward2.wide.weight"].flatten(1).norm(dim=1) for name in streams}
    assert [bool(norm) for norm in norms["asr"]] == [True, True, False] and [bool(norm) for norm in norms["cpc"]] == [False, True, True]


@pytest.mark.parametrize("over", [("sounds",), ("encoder", "sounds")])
def test_the_embedding_network_in_theta_gets_lambda(over):
    """With the encoder outside theta, which then has its plain gradient."""
    made, weights = system(), {"sounds_ctc": 0.25, "output": 0.75}
    section = Level.model_validate({"objectives": ["sounds_ctc", "output"], "weighting": {"type": "static", "weights": weights}})
    level = build_level(section, False, {name: (STREAMS[name], *made.objectives[name].reads) for name in weights})
    step = JointStep(made, STREAMS, [level], torch.float64, over=over)
    draws = [draw(0)]
    step(draws, 0, GAMMA[:1])
    each = {name: alone(made, draws[0], name, STREAMS) for name in weights}
    for key, param in made.named_parameters():
        theta = key.split(".")[0] in step.theta
        expected = sum((weights[name] if theta else 1.0) * each[name][key] for name in weights)
        got = torch.zeros_like(param) if param.grad is None else param.grad
        torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-11, msg=key)


@pytest.mark.parametrize("kind", ["static", "mgda"])
def test_the_balance_of_a_decoder_in_theta_gets_lambda(kind):
    writer = {**WRITER, "heads": 2, "experts": {"count": 3, "top": 2}}
    model = {"encoder": ENCODER, "texts": writer, "cmvn": "none", "specaugment": None}
    written = {"type": "attention", "stream": "x", "tokens": "b", "text": "text.b", "decoder": "texts", "balance": 5.0}
    objectives = {"asr": CTC, "written": written}
    made = build.system(model=model, objectives=objectives, streams={"x": {"sets": ["x"]}}).train()
    streams, draws = {"asr": "x", "written": "x"}, [draw(0)]
    weights = {"weights": {"asr": 0.75, "written": 0.25}} if kind == "static" else {}
    section = Level.model_validate({"objectives": list(streams), "weighting": {"type": kind, **weights}})
    level = build_level(section, False, {name: ("x", *made.objectives[name].reads) for name in streams})
    outcome = JointStep(made, streams, [level], torch.float64, over=("encoder", "texts"))(draws, 0, [1.0])
    each = {name: alone(made, draws[0], name, streams) for name in streams}
    for key, param in made.named_parameters():
        theta = key.split(".")[0] in ("encoder", "texts")
        expected = sum((outcome.weights[name] if theta else 1.0) * each[name][key] for name in streams)
        torch.testing.assert_close(param.grad, expected, rtol=1e-7, atol=1e-11, msg=key)
    assert made.texts.blocks[0].feed_forward.router.weight.grad.any()


def test_a_head_that_the_encoder_runs_is_not_merged_without_it():
    with pytest.raises(UserError, match="weighting.over: tokens also runs within the encoder"):
        system().theta(["tokens"])


def test_rows_in_half_precision_are_those_in_full():
    """Also of a head in theta, which has copies of its weights."""
    names, rows = ["output", "middle", "written"], {}
    for dtype in (torch.float32, torch.bfloat16):
        made, one = system().float(), draw(0)
        for batch in (batch for batches in one.values() for batch in batches):
            batch.inputs["feats"] = batch.inputs["feats"].float()
        section = Level.model_validate({"objectives": names, "weighting": {"type": "pcgrad"}})
        level = build_level(section, False, {name: (STREAMS[name], *made.objectives[name].reads) for name in names})
        step = JointStep(made, STREAMS, [level], dtype)
        step([one], 0, GAMMA[:1])
        rows[dtype] = {name: step.rows.row(name) for name in step.rows._held if name != MERGED}
    full, half = rows.values()
    assert len(full) == len(half) == 3
    for name, row in full.items():
        assert (half[name] - row).norm() < 0.03 * row.norm(), name


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("lower", ["cpc", "balance"])
def test_a_gamma_of_0_leaves_heads_their_gradient(lower, spread):
    """With experts spread over processes as well; a balance has no head, and nothing to learn then."""
    made, sections = system(), [{"objectives": ["output"]}, {"objectives": [lower], "penalty": {"end": 0.1}}]
    if spread:
        made.spread_names = frozenset(made.stacks)
    streams = {"output": "x", lower: "raw"}
    levels = [build_level(Level.model_validate(section | {"weighting": {"type": "static"}}), False, {}) for section in sections]
    step = JointStep(made, streams, levels, torch.float64)
    draws = [draw(0)]
    assert step(draws, 0, [1.0, 0.0]).problem is None
    expected = alone(made, draws[0], lower, streams)
    for name, param in made.objectives[lower].named_parameters(f"objectives.{lower}"):
        torch.testing.assert_close(param.grad, expected[name], rtol=1e-7, atol=1e-11)
