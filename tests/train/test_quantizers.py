"""Quantizers in training: lambda and gamma reach the front end through them, their own gradient is plain, and steps are counted once."""

from __future__ import annotations

import pytest
import torch

from m2asr.moo.build import build_level
from m2asr.seeds import seed_of
from m2asr.train.step import JointStep
from m2asr.train_config import Level
from tests.objectives import build
from tests.objectives.test_contrastive import CONTRASTIVE, ENCODER, MASKED_LM
from tests.train.test_waits import Reads

VIEW = {"mask": {"probability": 0.2, "length": 3, "vector": "gap"}}
OBJECTIVES = {
    "asr": {"type": "ctc", "stream": "x", "tokens": "a"},
    "contrastive": {**CONTRASTIVE, "view": VIEW, "tap": "block1"},
    "mlm": {**MASKED_LM, "view": VIEW},
    "other": {"type": "ctc", "stream": "y", "tokens": "b"},
}
STREAMS = {name: section["stream"] for name, section in OBJECTIVES.items()}
WEIGHTINGS = {
    "static": {"type": "static"},
    "mgda": {"type": "mgda"},
    "modo": {"type": "modo"},
    "features": {"type": "mgda", "gradients": "features"},
}
LEVELS = {"one": [["asr", "contrastive", "mlm"]], "two": [["asr"], ["contrastive", "mlm"]]}
GAMMA = 0.3


def system(kind="gumbel", dtype=torch.float64, **codes):
    quantizer = {"type": f"{kind}_quantizer", "groups": 2, "entries": 6, "width": 8, **codes}
    model = {"encoder": ENCODER, "codes": quantizer, "gap": "mask_vector", "cmvn": "none", "specaugment": None}
    return build.system(dtype, model=model, objectives=OBJECTIVES).train()


def batches(seed, dtype=torch.float64):
    x = build.batch([120, 200, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]]}, seed, dtype=dtype)
    return x, build.batch([100, 81], {"b:text": [[1, 2], [3, 4, 5]]}, seed + 1, dtype=dtype)


def draw(seed, dtype=torch.float64):
    x, y = batches(seed, dtype)
    return {"x": [x], "y": [y]}


def joint(made, levels, weighting, over=("encoder",)):
    sections = [
        Level.model_validate({"objectives": names, "weighting": weighting, "penalty": {"end": 0.1} if number else None})
        for number, names in enumerate(levels)
    ]
    reads = {name: (STREAMS[name], *made.objectives[name].reads) for name in STREAMS}
    return JointStep(made, STREAMS, [build_level(section, False, reads) for section in sections], torch.float64, over=over)


def loss_of(made, batch, name):
    """The loss sum of one objective and its weight."""
    made.prepare(batch, [name])
    objective = made.objectives[name]
    encoded = {view: made.encode(batch, view, {tap for other, tap in objective.reads if other == view}) for view in objective.views}
    torch.manual_seed(seed_of(*batch.key, name))
    return objective(encoded, batch.shares[name]).sum, batch.shares[name].weight


def alone(made, draws, name):
    """The gradient of one objective over all parameters by autograd, the mean over draws of one batch."""
    named, gradients = dict(made.named_parameters()), []
    for batch in (batches[0] for draw in draws for stream, batches in draw.items() if stream == STREAMS[name]):
        total, weight = loss_of(made, batch, name)
        gradients.append(torch.autograd.grad(total / weight, list(named.values()), allow_unused=True))
    return {
        key: sum(torch.zeros_like(param) if gradient is None else gradient for gradient in column) / len(gradients)
        for (key, param), column in zip(named.items(), zip(*gradients, strict=True), strict=True)
    }


CASES = [(kind, "gumbel", levels, ("encoder",)) for kind in WEIGHTINGS for levels in LEVELS]
CASES += [(kind, "nearest", "two", over) for kind in ("static", "mgda") for over in (("encoder",), ("encoder", "codes"))]
CASES += [("mgda", "gumbel", "two", ("encoder", "codes")), ("mgda", "projection", "one", ("encoder",))]


@pytest.mark.parametrize(("kind", "quantizer", "levels", "over"), CASES, ids=lambda case: case if isinstance(case, str) else "+".join(case))
def test_gradients_of_every_parameter(kind, quantizer, levels, over):
    made = system(quantizer)
    step = joint(made, LEVELS[levels], WEIGHTINGS[kind], over)
    draws = [draw(10 * number) for number in range(step.levels[0].draws)]
    outcome = step(draws, 0, [1.0, GAMMA][: len(step.levels)])
    assert outcome.problem is None and not outcome.inactive
    each = {name: alone(made, draws, name) for name in ("asr", "contrastive", "mlm")}
    weights = {name: 1.0 for name in each} | (outcome.weights if kind != "static" else {})
    lower = LEVELS[levels][1] if len(step.levels) > 1 else []
    inside = {*over, "gap"}
    assert set(step.theta) == inside
    if quantizer != "projection":  # through the quantizer too, not only through the masked states
        assert each["contrastive"]["codes.codebook"].abs().sum() > 0
    for key, param in made.named_parameters():
        factor = {name: weights[name] * (GAMMA if name in lower else 1.0) if key.split(".")[0] in inside else 1.0 for name in each}
        expected = sum(factor[name] * gradient[key] for name, gradient in each.items())
        got = torch.zeros_like(param) if param.grad is None else param.grad
        assert torch.allclose(got, expected, rtol=1e-7, atol=1e-11), key


@pytest.mark.parametrize("quantizer", ["gumbel", "nearest"])
def test_gamma_zero_leaves_the_encoder_to_the_upper_level(quantizer):
    """Bit for bit; the quantizer learns on."""
    gradients = {}
    for levels in (LEVELS["two"], LEVELS["two"][:1]):
        made = system(quantizer)
        joint(made, levels, WEIGHTINGS["static"])([draw(0)], 0, [1.0, 0.0][: len(levels)])
        gradients[len(levels)] = {key: param.grad for key, param in made.named_parameters()}
    for key in gradients[1]:
        if key.startswith("encoder."):
            assert torch.equal(gradients[1][key], gradients[2][key]), key
    assert gradients[2]["codes.codebook"].abs().sum() > 0 and gradients[1]["codes.codebook"] is None


def test_micro_batches_add_up():
    """Without the diversity of a whole batch, two micro-batches are one batch whose distractors are those of each."""
    made = system()
    made.objectives["contrastive"].diversity = 0.0
    step = joint(made, [["contrastive", "mlm"]], WEIGHTINGS["static"])
    parts = [batches(seed)[0] for seed in (0, 10)]
    step([{"x": parts}], 0, [1.0])
    total = 0.0
    for name in ("contrastive", "mlm"):
        losses, weights = zip(*(loss_of(made, part, name) for part in parts), strict=True)
        total = total + sum(losses) / sum(weights)
    for key, param in made.named_parameters():
        (expected,) = torch.autograd.grad(total, [param], allow_unused=True, retain_graph=True)
        got = torch.zeros_like(param) if param.grad is None else param.grad
        assert torch.allclose(got, torch.zeros_like(param) if expected is None else expected, rtol=1e-7, atol=1e-11), key


def test_a_step_is_counted_once_if_it_trains_the_quantizer():
    """For all its passes, micro-batches and objectives; not where its labels alone are read, nor where it had no target."""
    made = system(decay=0.9)
    step = joint(made, [["asr", "contrastive", "mlm"]], {"type": "modo"})
    for number in range(3):
        x = [batches(100 * number + index)[0] for index in range(4)]
        outcome = step([{"x": x[:2]}, {"x": x[2:]}], number, [1.0], measure=True)
        assert int(made.codes.steps) == number  # until the optimizer has moved
        step.applied(outcome)
    assert int(made.codes.steps) == 3 and float(made.codes.temperature) == pytest.approx(2 * 0.9**3)
    labels = joint(made, [["mlm", "asr"]], WEIGHTINGS["static"])
    labels.applied(labels([draw(0)], 0, [1.0]))
    without = joint(made, [["contrastive", "other"]], WEIGHTINGS["static"])
    without.applied(without([{"x": [build.batch([3, 3], {"a:text": [[2], [3]]})], "y": draw(0)["y"]}], 0, [1.0]))
    assert int(made.codes.steps) == 3


@pytest.mark.parametrize("kind", ["gumbel", "nearest", "projection"])
def test_nothing_waits_for_the_device(kind):
    """Distractors are drawn and masked states listed on the host, and the temperature stays on the device."""
    made = system(kind, torch.float32)
    x, _ = batches(0, torch.float32)
    made.prepare(x, ["contrastive", "mlm"])
    view = made.objectives["mlm"].views[0]
    encoded = {view: made.encode(x, view, {"frontend", "block1", "output"})}
    with Reads() as counted:
        losses = [made.objectives[name](encoded, x.shares[name]).sum for name in ("contrastive", "mlm")]
        sum(losses).backward()
        made.after_step(["contrastive"])
    assert not counted.places
