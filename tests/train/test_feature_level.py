"""Weights from gradients at encoder states: linear, optimal at the states, exact between streams, and told apart from the exact ones."""

from __future__ import annotations

import copy

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.build import build_level
from m2asr.moo.min_norm import kkt_residual, min_norm_weights
from m2asr.objectives.build import resolve
from m2asr.report.conflicts import summarize
from m2asr.report.log import read_log
from m2asr.train.materials import gather
from m2asr.train.step import JointStep
from m2asr.train.trainer import Trainer
from m2asr.train_config import Phase, TrainConfig
from tests.objectives import build
from tests.train import recipe
from tests.train.test_step import UPPER, flat, found_flat, gradients, reference

FEATURES = {"type": "mgda", "gradients": "features"}


def joint(system, weighting=FEATURES, config=None, *, apart=False, dtype=torch.float32, **changes):
    config = config or build.config(weighting=weighting, **changes)
    streams = {name: objective.stream for name, objective in config.objectives.items()}
    reads = {name: (stream, *system.objectives[name].reads) for name, stream in streams.items()}
    levels = [build_level(level, apart, reads) for level in config.levels_of(Phase(name="train"))]
    return JointStep(system.train(), streams, levels, dtype=dtype)


def objectives(**changes):
    """Those of the shared config, with changes; None takes one away."""
    given = {name: section.model_dump(exclude_unset=True) for name, section in build.config().objectives.items()} | changes
    return {name: section for name, section in given.items() if section is not None}


def of_a_stream(names, stream):
    return [name for name in names if build.config().objectives[name].stream == stream]


@pytest.mark.parametrize("weighting", ["mgda", "pcgrad", "upgrad"])
def test_one_objective_per_group_is_exact_bit_for_bit(weighting):
    """CPC is one of them: it reads two views, and is a group of its own."""
    changes = {"objectives": objectives(st_y=None, cpc=objectives()["cpc"] | {"level": "upper"}), "penalty": None}
    found = []
    for how in ("exact", "features"):
        system = build.system(**changes)
        step = joint(system, {"type": weighting, "gradients": how}, **changes)
        outcome = step([build.draw()], 0, factors=[1.0])
        found.append((outcome.weights, gradients(system)))
    assert found[0][0] == found[1][0] and len(found[0][0]) == 3
    for key, value in found[0][1].items():
        assert torch.equal(value, found[1][1][key]), key


def test_the_update_is_the_weighted_sum_of_exact_gradients_and_heads_get_their_own():
    system, draw = build.system(), build.draw()
    outcome = joint(system)([draw], 0, factors=(1, 0.1))
    found = gradients(system)
    alone = {name: reference(system, draw, name) for name in (*UPPER, "cpc")}
    assert sum(outcome.weights.values()) == pytest.approx(1) and 0 < outcome.weights["st_y"] < 1
    for key, value in found.items():
        if key.startswith("encoder."):
            expected = sum(outcome.weights[name] * alone[name][key] for name in UPPER) + 0.1 * alone["cpc"][key]
        else:
            expected = alone[key.split(".")[1]][key]
        assert torch.allclose(value, expected, rtol=1e-9, atol=1e-12), key


def state_gradients(system, draw, names):
    """Gradients (K, ...) of objectives on one stream at the encoder's output, by autograd."""
    stream = build.config().objectives[names[0]].stream
    (batch,) = draw[stream]
    found = []
    for name in names:
        objective = system.objectives[name]
        (view,) = objective.views
        encoded = system.encode(system.prepare(batch, [name]), view, ["output"])
        loss = objective({view: encoded}, batch.shares[name])
        found.append(torch.autograd.grad(loss.sum / batch.shares[name].weight, encoded.states["output"])[0].flatten())
    return torch.stack(found)


def test_weights_are_optimal_at_the_states_and_between_streams():
    system, draw = build.system(), build.draw()
    weights = joint(system)([draw], 0, factors=(1, 0.0)).weights
    share = weights["asr_y"] + weights["st_y"]
    within = torch.tensor([weights["asr_y"], weights["st_y"]], dtype=torch.float64) / share
    at_states = state_gradients(system, draw, ["asr_y", "st_y"])
    assert kkt_residual(at_states @ at_states.T, within) < 1e-9 and (within > 0.01).all()
    rows = torch.stack([flat(system, draw, "asr_x"), within[0] * flat(system, draw, "asr_y") + within[1] * flat(system, draw, "st_y")])
    across = torch.tensor([weights["asr_x"], share], dtype=torch.float64)
    assert kkt_residual(rows @ rows.T, across) < 1e-9 and (across > 0.01).all()


@pytest.mark.parametrize("how, passes", [("features", {"x": 1, "y": 1}), ("exact", {"x": 1, "y": 2})])
def test_the_backbone_is_gone_through_once_per_group(how, passes):
    """asr_y and st_y read the same states of the stream y."""
    system, draw = build.system(), build.draw()
    step = joint(system, {"type": "mgda", "gradients": how})
    count = []
    parameter = next(system.encoder.parameters())
    parameter.register_post_accumulate_grad_hook(lambda _: count.append(1))
    step([draw], 0, factors=(1, 0.0))
    assert len(count) == sum(passes.values())
    assert 1 + sum(level.count for level in step.levels) == 1 + sum(passes.values())


def test_objectives_at_another_tap_are_a_group_of_their_own():
    changes = {"objectives": objectives(st_y=objectives()["st_y"] | {"tap": "block1"})}
    found = []
    for how in ("exact", "features"):
        system = build.system(**changes)
        step = joint(system, {"type": "mgda", "gradients": how}, **changes)
        outcome = step([build.draw()], 0, factors=(1, 0.0))
        found.append((outcome.weights, found_flat(system)))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-12)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)


def test_a_copy_of_an_objective_changes_nothing():
    alone = build.system()
    single = joint(alone)([build.draw()], 0, factors=(1, 0.0)).weights
    changes = {"objectives": objectives(copy=objectives()["asr_y"])}
    system = build.system(**changes)
    system.load_state_dict(alone.state_dict(), strict=False)
    system.objectives["copy"].load_state_dict(alone.objectives["asr_y"].state_dict())
    weights = joint(system, **changes)([build.draw()], 0, factors=(1, 0.0)).weights
    assert weights["asr_y"] == pytest.approx(weights["copy"], rel=1e-6)
    assert weights["asr_y"] + weights["copy"] == pytest.approx(single["asr_y"], rel=1e-6)
    assert torch.allclose(found_flat(system), found_flat(alone), rtol=1e-6, atol=1e-10)


def test_objectives_without_a_target_are_left_out():
    system, draw = build.system(), build.draw()
    step = joint(system)
    draw["y"][0].target_lengths["a:text.x"].fill_(-1)
    outcome = step([draw], 0, factors=(1, 0.0))
    assert outcome.inactive == ["st_y"] and outcome.weights["st_y"] == 0
    assert sum(outcome.weights.values()) == pytest.approx(1)
    assert all(p.grad is None for p in system.objectives["st_y"].parameters())
    rows = torch.stack([flat(system, draw, name) for name in ("asr_x", "asr_y")])
    assert torch.allclose(found_flat(system), min_norm_weights(rows @ rows.T) @ rows, rtol=1e-8, atol=1e-12)
    draw["y"][0].target_lengths["b:text"].fill_(-1)  # a whole group
    draw["y"][0].shares.clear()
    assert step([draw], 1, factors=(1, 0.0)).weights == {"asr_x": 1.0, "asr_y": 0.0, "st_y": 0.0}


def test_padding_a_batch_changes_nothing():
    system, draw = build.system(), build.draw()
    step = joint(system)
    weights = step([draw], 0, factors=(1, 0.5)).weights
    before = gradients(system)
    for batches in draw.values():
        for batch in batches:
            feats = batch.inputs["feats"]
            batch.inputs["feats"] = torch.cat([feats, torch.full((len(batch), 37, 8), 5.0, dtype=feats.dtype)], dim=1)
    assert step([draw], 0, factors=(1, 0.5)).weights == pytest.approx(weights, rel=1e-8)
    for key, value in gradients(system).items():
        assert torch.allclose(value, before[key], rtol=1e-8, atol=1e-12), key


def test_a_lower_level_may_be_of_this_kind():
    """Static recognition above, two objectives of one stream below."""
    levels = [
        {"objectives": ["asr_x", "cpc"], "weighting": {"type": "static"}},
        {"objectives": ["asr_y", "st_y"], "weighting": FEATURES, "penalty": {"start": 0.3, "end": 0.3}},
    ]
    plain = {name: {key: value for key, value in section.items() if key != "level"} for name, section in objectives().items()}
    config = build.config(objectives=plain, levels=levels, penalty=None)
    for measured in (False, True):
        system, draw = build.system(), build.draw()
        step = joint(system, config=config, apart=measured)
        outcome = step([draw], 0, factors=(1.0, 0.3), measure=measured)
        weights = outcome.weights
        assert weights["asr_y"] + weights["st_y"] == pytest.approx(1) and 0 < weights["st_y"] < 1
        below = sum(0.3 * weights[name] * flat(system, draw, name) for name in ("asr_y", "st_y"))
        above = sum(weights[name] * flat(system, draw, name) for name in ("asr_x", "cpc"))
        assert torch.allclose(found_flat(system), above + below, rtol=1e-8, atol=1e-12)
    assert outcome.conflicts.pull == pytest.approx(below.norm().item(), rel=1e-6)
    step([draw], 0, factors=(1.0, 0.0))
    assert torch.allclose(found_flat(system), above, rtol=1e-8, atol=1e-12)


def test_below_a_level_that_is_measured_it_counts_as_a_sum():
    levels = [
        {"objectives": ["asr_x", "cpc"], "weighting": {"type": "mgda"}},
        {"objectives": ["asr_y", "st_y"], "weighting": FEATURES, "penalty": {"start": 0.3, "end": 0.3}},
    ]
    plain = {name: {key: value for key, value in section.items() if key != "level"} for name, section in objectives().items()}
    system, draw = build.system(), build.draw()
    step = joint(system, config=build.config(objectives=plain, levels=levels, penalty=None))
    outcome = step([draw], 0, factors=(1.0, 0.3), measure=True)
    below = sum(0.3 * outcome.weights[name] * flat(system, draw, name) for name in ("asr_y", "st_y"))
    assert outcome.conflicts.names == ["asr_x", "cpc", "asr_y+st_y"] and outcome.conflicts.deviation is None
    assert outcome.conflicts.pull == pytest.approx(below.norm().item(), rel=1e-6)


def test_the_deviation_from_exact_weights_is_told():
    draw, found = build.draw(), {}
    for how in ("exact", "features"):
        system = build.system()
        step = joint(system, {"type": "mgda", "gradients": how}, apart=True)
        outcome = step([draw], 0, factors=(1, 0.1), measure=True)
        found[how] = outcome, gradients(system)
    exact, features = found["exact"][0], found["features"][0]
    expected = max(abs(exact.weights[name] - features.weights[name]) for name in UPPER)
    assert features.conflicts.deviation == pytest.approx(expected, rel=1e-6) and expected > 1e-3
    assert exact.conflicts.deviation is None and "deviation" not in exact.conflicts.line()
    assert features.conflicts.line()["deviation"] == features.conflicts.deviation
    for layer, gramian in exact.conflicts.gramians.items():
        assert torch.allclose(gramian, features.conflicts.gramians[layer], rtol=1e-9, atol=1e-12), layer
    merged = sum(features.weights[name] * flat(system, draw, name) for name in UPPER)
    assert features.conflicts.merged == pytest.approx(merged.norm().item(), rel=1e-6)
    # measuring does not change the step
    outcome = step([draw], 0, factors=(1, 0.1))
    assert outcome.conflicts is None and outcome.weights == features.weights
    for key, value in gradients(system).items():
        assert torch.allclose(value, found["features"][1][key], rtol=1e-10, atol=1e-13), key


def test_the_deviation_is_zero_with_one_objective_per_group():
    changes = {"objectives": objectives(st_y=None)}
    system = build.system(**changes)
    outcome = joint(system, apart=True, **changes)([build.draw()], 0, factors=(1, 0.1), measure=True)
    assert outcome.conflicts.deviation == pytest.approx(0, abs=1e-12)


def test_without_exact_rows_it_is_not_measured():
    step = joint(build.system())
    assert step([build.draw()], 0, factors=(1, 0.1), measure=True).conflicts is None


def test_weights_are_used_again():
    system = build.system()
    step = joint(system, {**FEATURES, "every": 2})
    first = step([build.draw()], 0, factors=(1, 0.0)).weights
    step = joint(system, {**FEATURES, "every": 3})
    weights = [step([build.draw(10 * number)], number, factors=(1, 0.0)).weights for number in range(3)]
    assert weights[0] == weights[1] == first and weights[2] != first
    again = step([build.draw(50)], 3, factors=(1, 0.0)).weights
    expected = sum(again[name] * flat(system, build.draw(50), name) for name in UPPER)
    assert again == weights[2] and torch.allclose(found_flat(system), expected, rtol=1e-8, atol=1e-12)


def test_not_a_number_is_named():
    system, draw = build.system(), build.draw()
    step = joint(system)
    draw["y"][0].inputs["feats"][0, 5] = float("nan")
    outcome = step([draw], 0, factors=(1, 0.0))
    assert outcome.problem is not None and "asr_y" in outcome.problem


@pytest.mark.parametrize("where", ["head", "backbone"])
def test_a_gradient_that_is_not_finite_is_named(where):
    """The losses are finite; the gradient breaks at the head of st_y, or in the backbone on the way of the stream y."""
    system, draw = build.system(), build.draw()
    step = joint(system, apart=True)
    if where == "head":
        system.objectives["st_y"].output.register_full_backward_hook(lambda module, given, _: (given[0] * float("inf"),))
    else:
        size = len(draw["y"][0])
        hook = lambda module, given, _: (given[0] * (float("inf") if len(given[0]) == size else 1),)  # noqa: E731
        system.encoder.blocks[0].norm.register_full_backward_hook(hook)
    for measure in (False, True):
        outcome = step([draw], 0, factors=(1, 0.0), measure=measure)
        assert outcome.problem is not None and "gradient" in outcome.problem and "st_y" in outcome.problem
        assert ("asr_y" in outcome.problem) == (where == "backbone") and "asr_x" not in outcome.problem


def test_mixed_precision_stays_close():
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        system = build.system(torch.float32)
        outcome = joint(system, dtype=dtype)([build.draw(dtype=torch.float32)], 0, factors=(1, 0.1))
        found.append((outcome.weights, found_flat(system)))
    assert found[1][0] == pytest.approx(found[0][0], abs=0.05)
    assert torch.nn.functional.cosine_similarity(found[0][1], found[1][1], dim=0) > 0.99


def config_of_a_run():
    config = copy.deepcopy(recipe.SMALL)
    config["weighting"] = dict(FEATURES)
    config["train"] |= {"epochs": 1, "conflicts": True}
    return config


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train": {"accumulation": 2}}, "train.accumulation: 2 does not go with `weighting.gradients: features`"),
        ({"objectives": {"cpc": {"stream": "en"}}}, "another level draws 2 from the stream en of asr_en"),
    ],
    ids=["accumulation", "draws"],
)
def test_several_batches_per_step_are_refused(changes, message, mini_data, mini_dump, tmp_path):
    config = config_of_a_run()
    for section, change in changes.items():
        for key, value in change.items():
            config[section][key] = config[section][key] | value if isinstance(value, dict) else value
    if "objectives" in changes:
        lower = {"objectives": ["cpc"], "weighting": {"type": "modo"}, "penalty": config.pop("penalty")}
        config["levels"] = [{"objectives": ["asr_en", "st_en_it"], "weighting": config.pop("weighting")}, lower]
        del config["objectives"]["cpc"]["level"]
        del config["streams"]["raw"]
    exp = tmp_path / "exp"
    done = recipe.train(exp, recipe.prepare(exp, mini_data, config), mini_data, mini_dump)
    assert done.returncode == 1
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_modules_beside_the_encoder_are_refused(mini_data, mini_dump, tmp_path):
    config = config_of_a_run()
    config["model"] = {**config["model"], "hidden": {"type": "mask_vector"}}
    config["objectives"]["asr_en"]["view"] = {"mask": {"probability": 0.1, "length": 2, "vector": "hidden"}}
    recipe.prepare(tmp_path, mini_data, config)
    resolved = resolve(TrainConfig.model_validate(config))
    with pytest.raises(UserError, match="`features` is for the encoder alone, but hidden, which a view or `condition` names, is merged"):
        Trainer(resolved, gather(resolved, mini_data, mini_dump, tmp_path), tmp_path)
    resolved.weighting.over = ["encoder", "hidden"]
    with pytest.raises(UserError, match="weighting.over: `gradients: features` is for the encoder alone; name only that"):
        Trainer(resolved, gather(resolved, mini_data, mini_dump, tmp_path), tmp_path)


@pytest.mark.slow
def test_a_run_tells_its_deviation(mini_data, mini_dump, tmp_path):
    exp = tmp_path / "exp"
    done = recipe.train(exp, recipe.prepare(exp, mini_data, config_of_a_run()), mini_data, mini_dump)
    assert done.returncode == 0, done.stderr
    measured = [line["conflict"] for line in read_log(exp) if line.get("conflict")]
    assert measured and all(0 <= one["deviation"] <= 1 for one in measured) and any(one["deviation"] > 0 for one in measured)
    assert "largest deviation of a lambda from the exact one" in summarize(exp)
