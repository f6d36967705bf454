"""The multi-objective step: gradients exact under every weighting, levels, accumulation, isolation of heads."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from m2asr.data.batch import Batch
from m2asr.moo.build import build_level
from m2asr.moo.min_norm import min_norm_weights
from m2asr.seeds import seed_of
from m2asr.train.optim import Optimizer, clip_groups
from m2asr.train.step import JointStep
from m2asr.train_config import Optim, Phase, Weighting
from tests.objectives import build


def joint(system, weighting, config=None, *, normalize="none", every=1, layers="all"):
    config = config or build.config()
    streams = {name: objective.stream for name, objective in config.objectives.items()}
    config.weighting = Weighting(**weighting, normalize=normalize, every=every, layers=layers)
    levels = [build_level(level, apart=False, reads={}) for level in config.levels_of(Phase(name="train"))]
    return JointStep(system.train(), streams, levels, dtype=torch.float32)


def gradients(system):
    return {name: None if p.grad is None else p.grad.clone() for name, p in system.named_parameters()}


def reference(system, draw, name, stream=None):
    """Gradient of one objective alone, by autograd, over all parameters."""
    objective = system.objectives[name]
    stream = stream or build.config().objectives[name].stream
    (batch,) = draw[stream]
    system.prepare(batch, [name])
    encoded = {view: system.encode(batch, view, {tap for other, tap in objective.reads if other == view}) for view in objective.views}
    torch.manual_seed(seed_of(*batch.key, name))
    loss = objective(encoded, batch.shares[name])
    named = dict(system.named_parameters())
    found = torch.autograd.grad(loss.sum / batch.shares[name].weight, list(named.values()), allow_unused=True)
    return {key: torch.zeros_like(p) if g is None else g for (key, p), g in zip(named.items(), found, strict=True)}


UPPER = ("asr_x", "asr_y", "st_y")


def test_static_is_the_weighted_sum_on_the_backbone_and_plain_on_the_heads():
    system, draw = build.system(), build.draw()
    weights = {"asr_x": 0.5, "asr_y": 0.2, "st_y": 0.3}
    joint(system, {"type": "static", "weights": weights})([draw], 0, factors=(1, 0.1))
    found = gradients(system)
    alone = {name: reference(system, draw, name) for name in (*UPPER, "cpc")}
    for key, value in found.items():
        if key.startswith("encoder."):
            expected = sum(weights[name] * alone[name][key] for name in UPPER) + 0.1 * alone["cpc"][key]
        else:
            expected = alone[key.split(".")[1]][key]
        assert torch.allclose(value, expected, rtol=1e-9, atol=1e-12), key


@pytest.mark.parametrize("weighting", [{"type": "mgda"}, {"type": "modo"}, {"type": "modo", "samples": 3}], ids=["mgda", "modo2", "modo3"])
def test_dynamic_weightings_merge_the_exact_gradients(weighting):
    system = build.system()
    step = joint(system, weighting)
    draws = [build.draw(10 * seed) for seed in range(step.levels[0].weighting.draws)]
    outcome = step(draws, 0, factors=(1, 0.1))
    found = gradients(system)
    alone = [{name: reference(system, draw, name) for name in (*UPPER, "cpc")} for index, draw in enumerate(draws)]
    assert sum(outcome.weights.values()) == pytest.approx(1)
    share = 1 / len(draws)
    for key, value in found.items():
        if key.startswith("encoder."):
            used = alone[2:] if len(draws) == 3 else alone
            expected = sum(outcome.weights[name] * one[name][key] / len(used) for one in used for name in UPPER)
            expected = expected + 0.1 * share * sum(one["cpc"][key] for one in alone)
        else:
            expected = share * sum(one[key.split(".")[1]][key] for one in alone)
        assert torch.allclose(value, expected, rtol=1e-8, atol=1e-12), key


def test_a_lower_stream_may_have_one_draw():
    """Its loss is the mean over the draws that hold it, whatever the number of draws of the others."""
    system = build.system()
    draws = [build.draw(0), build.draw(10)]
    del draws[1]["raw"]
    joint(system, {"type": "modo"})(draws, 0, factors=(1, 0.1))
    found = gradients(system)
    alone = reference(system, draws[0], "cpc")
    for key, value in found.items():
        if key.startswith("objectives.cpc."):
            assert torch.allclose(value, alone[key], rtol=1e-9, atol=1e-12), key


def test_modo_gets_the_cross_gramian_of_two_batches():
    """[half x objective], never [objective x half]: lambda follows G_1 G_2^T of the same step."""
    system = build.system()
    step = joint(system, {"type": "modo", "scale": "none", "step": 1e-3})
    draws = [build.draw(0), build.draw(10)]
    outcome = step(draws, 0, factors=(1, 0.0))
    rows = []
    for draw in draws:
        alone = [reference(system, draw, name) for name in UPPER]
        rows.append(torch.stack([torch.cat([g.flatten() for key, g in one.items() if key.startswith("encoder.")]) for one in alone]))
    uniform = torch.full((3,), 1 / 3, dtype=torch.float64)
    moved = uniform - 1e-3 * (rows[0] @ (rows[1].T @ uniform))
    moved = moved + (1 - moved.sum()) / 3  # projection onto the simplex, where no weight becomes negative
    assert (moved > 0).all()
    assert torch.allclose(torch.tensor(list(outcome.weights.values()), dtype=torch.float64), moved, atol=1e-9)


def test_gamma_zero_is_supervised_training_bit_for_bit():
    system, draw = build.system(torch.float32), build.draw(dtype=torch.float32)
    joint(system, {"type": "static"})([draw], 3, factors=(1, 0.0))
    with_cpc = gradients(system)
    config = build.config()
    objectives = {name: section.model_dump() for name, section in config.objectives.items() if name != "cpc"}
    plain_config = build.config(objectives=objectives, penalty=None)
    plain = build.system(torch.float32)
    del plain.objectives["cpc"]
    joint(plain, {"type": "static"}, plain_config)([draw], 3, factors=[1.0])
    for key, value in gradients(plain).items():
        assert torch.equal(value, with_cpc[key]), key
    assert with_cpc["objectives.cpc.predictors.0.weight"].abs().sum() > 0


def test_the_ssl_head_does_not_feel_gamma():
    system, draw = build.system(), build.draw()
    step = joint(system, {"type": "mgda"})
    found = []
    for gamma in (0.0, 0.3, 1.0):
        step([draw], 0, factors=(1, gamma))
        found.append(gradients(system))
    for key in found[0]:
        if key.startswith("objectives.cpc"):
            assert torch.allclose(found[0][key], found[1][key], rtol=1e-12) and torch.allclose(found[0][key], found[2][key], rtol=1e-12)
    assert not torch.allclose(found[0]["encoder.blocks.0.norm.weight"], found[2]["encoder.blocks.0.norm.weight"])


def split(batch: Batch) -> list[Batch]:
    """The same utterances as micro-batches of one."""
    parts = []
    for row in range(len(batch)):
        length = int(batch.lengths["feats"][row])
        parts.append(
            Batch(
                inputs={"feats": batch.inputs["feats"][row : row + 1, :length]},
                lengths={"feats": batch.lengths["feats"][row : row + 1]},
                targets={key: value[row : row + 1] for key, value in batch.targets.items()},
                target_lengths={key: value[row : row + 1] for key, value in batch.target_lengths.items()},
                lang=batch.lang[row : row + 1],
                speakers=batch.speakers[row : row + 1],
                utt_ids=batch.utt_ids[row : row + 1],
                key=batch.key,
            )
        )
    return parts


@pytest.mark.parametrize("weighting", ["static", "mgda"])
def test_micro_batches_equal_one_big_batch(weighting):
    """Up to rounding; CPC is left out since its negatives come from the batch."""
    system, draw = build.system(), build.draw()
    step = joint(system, {"type": weighting})
    draw = {stream: draw[stream] for stream in ("x", "y")}
    one = step([draw], 0, factors=(1, 0.0))
    whole = gradients(system)
    other = step([{stream: split(batches[0]) for stream, batches in draw.items()}], 0, factors=(1, 0.0))
    for key, value in gradients(system).items():
        if not key.startswith("objectives.cpc"):
            assert torch.allclose(value, whole[key], rtol=1e-8, atol=1e-12), key
    for name in UPPER:
        assert one.losses[name][0] == pytest.approx(other.losses[name][0])
        assert one.losses[name][1] == other.losses[name][1]


def test_padding_a_batch_changes_no_gradient():
    system, draw = build.system(), build.draw()
    step = joint(system, {"type": "mgda"})
    step([draw], 0, factors=(1, 0.5))
    before = gradients(system)
    for batches in draw.values():
        for batch in batches:
            feats = batch.inputs["feats"]
            batch.inputs["feats"] = torch.cat([feats, torch.full((len(batch), 37, 8), 5.0, dtype=feats.dtype)], dim=1)
    step([draw], 0, factors=(1, 0.5))
    for key, value in gradients(system).items():
        assert torch.allclose(value, before[key], rtol=1e-8, atol=1e-12), key


def test_objectives_without_a_target_are_left_out():
    system, draw = build.system(), build.draw()
    draw["y"][0].target_lengths["a:text.x"].fill_(-1)
    outcome = joint(system, {"type": "mgda"})([draw], 0, factors=(1, 0.0))
    assert outcome.inactive == ["st_y"]
    assert outcome.weights["st_y"] == 0
    assert outcome.weights["asr_x"] + outcome.weights["asr_y"] == pytest.approx(1)
    assert all(p.grad is None for p in system.objectives["st_y"].parameters())


KINDS = [{"type": kind} for kind in ("static", "mgda", "modo", "moco", "uncertainty", "pcgrad", "upgrad")]
KINDS += [{"type": "modo", "samples": 3}]


@pytest.mark.parametrize("gamma", [0.1, 0.0])
@pytest.mark.parametrize("weighting", KINDS, ids=lambda one: "".join(map(str, one.values())))
def test_a_step_without_any_target_moves_nothing_but_the_lower_level(weighting, gamma):
    system = build.system()
    step = joint(system, weighting)
    state = step.levels[0].state_dict(step.rows)
    draws = [{key: value for key, value in build.draw().items() if key == "raw"} for _ in range(step.levels[0].draws)]
    outcome = step(draws, 0, factors=(1, gamma), measure=True)
    step.applied(outcome)
    assert outcome.problem is None and outcome.inactive == list(UPPER) and set(outcome.weights.values()) == {0.0}
    assert not outcome.idle
    if gamma:
        expected = sum(flat(system, draw, "cpc") for index, draw in enumerate(draws)) / len(draws)
        assert torch.allclose(found_flat(system), gamma * expected, rtol=1e-8, atol=1e-12)
    else:
        assert all(p.grad is None for p in system.encoder.parameters())
    assert step.levels[0].weighting.state_dict() == state["weighting"]


def test_the_optimizer_moves_nothing_without_any_target():
    """Neither momentum nor weight decay, and Adam's own count of steps stands still."""
    system = build.system()
    step = joint(system, {"type": "mgda"})
    optimizer = Optimizer(Optim(warmup_steps=0), system.groups(["encoder"]), total_steps=10)
    assert not step([build.draw()], 0, factors=(1, 0.1)).idle
    optimizer.step(0)
    weights, moments = copy.deepcopy(system.state_dict()), copy.deepcopy(optimizer.state_dict())
    outcome = step([{}], 1, factors=(1, 0.1), measure=True)
    assert outcome.idle and outcome.problem is None and clip_groups(system.module_parameters(), 5.0) == {}
    optimizer.step(1)
    for key, value in system.state_dict().items():
        assert torch.equal(value, weights[key]), key
    for place, state in optimizer.state_dict().items():
        assert all(torch.equal(value, moments[place][key]) for key, value in state.items())


def test_not_a_number_is_named():
    system, draw = build.system(), build.draw()
    draw["y"][0].inputs["feats"][0, 5] = float("nan")
    for weighting in ("static", "mgda"):
        outcome = joint(system, {"type": weighting})([draw], 0, factors=(1, 0.0))
        assert outcome.problem is not None and "asr_y" in outcome.problem


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("broken", [0, 1, 2])
@pytest.mark.parametrize("measure", [False, True])
def test_a_gradient_that_is_not_finite_in_any_draw_is_told(samples, broken, measure, monkeypatch):
    """A finite loss, such as sqrt(x) at 0, may have an infinite slope."""
    system, draws = build.system(), [build.draw(10 * seed) for seed in range(samples)]
    objective = system.objectives["asr_y"]
    whole = objective.forward

    def forward(encoded, share):
        loss = whole(encoded, share)
        if share.weight != draws[broken % samples]["y"][0].shares["asr_y"].weight:
            return loss
        states = next(iter(encoded.values())).states["output"]
        return replace(loss, sum=loss.sum + (0 * states.sum()).sqrt())

    monkeypatch.setattr(objective, "forward", forward)
    outcome = joint(system, {"type": "modo", "samples": samples})(draws, 0, factors=(1, 0.1), measure=measure)
    found = torch.linalg.vector_norm(found_flat(system))
    assert (outcome.problem is not None and "asr_y" in outcome.problem) or not found.isfinite()  # which clipping tells


@pytest.mark.parametrize("weighting", ["mgda", "modo"])
def test_conflicts_between_objectives_and_the_lower_level(weighting):
    system, draws = build.system(), [build.draw(0), build.draw(10)]
    draws[1].pop("raw")
    outcome = joint(system, {"type": weighting})(draws[: 1 + (weighting == "modo")], 0, factors=(1, 0.2), measure=True)
    conflicts = outcome.conflicts
    assert conflicts.names == [*UPPER, "cpc"]
    rows = {layer: [] for layer in ("encoder.subsampling", "encoder.blocks.0", "encoder.blocks.1", "encoder")}
    for name in conflicts.names:
        alone = reference(system, draws[0], name)
        for layer, found in rows.items():
            found.append(torch.cat([g.flatten() for key, g in alone.items() if key.startswith(layer)]))
    whole = torch.stack(rows.pop("encoder"))
    for gramian, found in zip(conflicts.gramians.values(), rows.values(), strict=True):
        assert torch.allclose(gramian, torch.stack(found) @ torch.stack(found).T, rtol=1e-6, atol=1e-10)
    assert list(conflicts.gramians) == ["subsampling", "blocks.0", "blocks.1"]
    merged = sum(outcome.weights[name] * row for name, row in zip(UPPER, whole, strict=False))
    assert conflicts.merged == pytest.approx(merged.norm().item(), rel=1e-6)
    assert conflicts.pull == pytest.approx(0.2 * whole[-1].norm().item(), rel=1e-6)
    line = conflicts.line()
    expected = torch.nn.functional.cosine_similarity(whole[:, None], whole, dim=-1)
    assert torch.allclose(torch.tensor(line["matrix"], dtype=torch.float64), expected, atol=1e-6)
    assert set(line["rate"]) == {"subsampling", "blocks.0", "blocks.1", "all"}


def test_a_step_tells_whether_one_objective_had_all_the_weight(monkeypatch):
    level = "+".join(UPPER)
    system, draw = build.system(), build.draw()
    assert joint(system, {"type": "static"})([draw], 0, factors=(1, 0.1)).vertex == {}
    assert joint(system, {"type": "mgda"})([draw], 0, factors=(1, 0.1)).vertex == {level: False}
    objective = system.objectives["asr_y"]
    whole = objective.forward

    def forward(encoded, share):  # the shortest gradient gets the weight
        loss = whole(encoded, share)
        return replace(loss, sum=1e-4 * loss.sum)

    monkeypatch.setattr(objective, "forward", forward)
    outcome = joint(system, {"type": "mgda"})([draw], 0, factors=(1, 0.1))
    assert outcome.vertex == {level: True} and outcome.weights["asr_y"] > 0.99
    for stream in ("y", "raw"):
        draw.pop(stream)
    assert joint(system, {"type": "mgda"})([draw], 0, factors=(1, 0.1)).vertex == {}  # a single objective has it always


def flat(system, draw, name):
    """Gradient of one objective over the encoder, as a vector in the order of the buffers."""
    alone = reference(system, draw, name)
    return torch.cat([value.flatten() for key, value in alone.items() if key.startswith("encoder.")])


def found_flat(system):
    return torch.cat([p.grad.flatten() for p in system.encoder.parameters()])


def test_moco_moves_along_the_tracked_gradients():
    system = build.system()
    step = joint(system, {"type": "moco", "beta": 0.25})
    assert sum(level.count for level in step.levels) == 2 * 3
    tracked = None
    for number in range(3):
        draw = build.draw(10 * number)
        outcome = step([draw], number, factors=(1, 0.1))
        rows = torch.stack([flat(system, draw, name) for name in UPPER])
        tracked = rows if tracked is None else tracked - 0.25 * (tracked - rows)
        lam = torch.tensor([outcome.weights[name] for name in UPPER], dtype=torch.float64)
        expected = lam @ tracked + 0.1 * flat(system, draw, "cpc")
        assert torch.allclose(found_flat(system), expected, rtol=1e-8, atol=1e-12)


def test_moco_without_tracking_is_the_direct_gradient():
    """beta 1: the update is lambda G of this batch, whatever came before."""
    system = build.system()
    step = joint(system, {"type": "moco", "beta": 1.0})
    for number in range(2):
        draw = build.draw(10 * number)
        outcome = step([draw], number, factors=(1, 0.0))
    expected = sum(outcome.weights[name] * flat(system, draw, name) for name in UPPER)
    assert torch.allclose(found_flat(system), expected, rtol=1e-8, atol=1e-12)


def test_a_gradient_that_is_not_finite_is_not_tracked():
    system, draw = build.system(), build.draw()
    step = joint(system, {"type": "moco"})
    step([draw], 0, factors=(1, 0.0))
    before = {name: row.clone() for name, row in step.levels[0].state_dict(step.rows)["tracked"].items()}
    broken = build.draw(10)
    broken["y"][0].inputs["feats"][0, 5] = float("nan")
    assert step([broken], 1, factors=(1, 0.0)).problem
    for name, row in step.levels[0].state_dict(step.rows)["tracked"].items():
        assert torch.equal(row, before[name]), name


@pytest.mark.parametrize("kind", ["uncertainty", "dwa", "famo"])
def test_weights_from_losses_need_one_backward(kind):
    system, draw = build.system(), build.draw()
    step = joint(system, {"type": kind, **({"window": 1} if kind == "dwa" else {})})
    assert sum(level.count for level in step.levels) == 0
    for number in range(4):
        outcome = step([draw], number, factors=(1, 0.1))
        outcome.losses["asr_x"] = (outcome.losses["asr_x"][0] * (number + 1), outcome.losses["asr_x"][1])
        step.applied(outcome)
    weights = outcome.weights
    assert sum(weights.values()) == pytest.approx(1) and len({round(weight, 12) for weight in weights.values()}) > 1
    expected = sum(weights[name] * flat(system, draw, name) for name in UPPER) + 0.1 * flat(system, draw, "cpc")
    assert torch.allclose(found_flat(system), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("how", ["l2", "loss", "loss+"])
def test_normalized_gradients_are_weighted_by_length_and_loss(how):
    system, draw = build.system(), build.draw()
    step = joint(system, {"type": "mgda"}, normalize=how)
    outcome = step([draw], 0, factors=(1, 0.0))
    rows = torch.stack([flat(system, draw, name) for name in UPPER])
    losses = torch.tensor([outcome.losses[name][0] / outcome.losses[name][1] for name in UPPER], dtype=torch.float64)
    lengths = {"l2": rows.norm(dim=1), "loss": losses, "loss+": rows.norm(dim=1) * losses}[how]
    scaled = rows / lengths[:, None]
    weights = min_norm_weights(scaled @ scaled.T) / lengths
    expected = (weights / weights.sum()) @ rows
    assert torch.allclose(found_flat(system), expected, rtol=1e-5, atol=1e-9)
