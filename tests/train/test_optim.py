"""Rates per group as functions of the position, decay of matrices only, clipping part by part."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from m2asr.errors import UserError
from m2asr.models.experts import ExpertLinear
from m2asr.train.muon import Muon
from m2asr.train.optim import Optimizer, clip_groups
from m2asr.train_config import Optim, Rates


def optimizer(total: int = 100, **options) -> Optimizer:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    config = Optim(lr=Rates(backbone=1.0, heads=0.1, ssl=10.0), **options)
    return Optimizer(config, {"backbone": list(model.named_parameters()), "heads": list(nn.Linear(2, 2).named_parameters())}, total)


@pytest.mark.parametrize("schedule", ["warmup_cosine", "warmup_linear", "warmup_constant", "noam"])
def test_the_peak_is_reached_at_the_end_of_the_warm_up_and_never_passed(schedule):
    one = optimizer(schedule=schedule, warmup_steps=10)
    rates = [one.rates(step)["backbone"] for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert all(later <= earlier for earlier, later in zip(rates[9:], rates[10:], strict=False))


def test_values_of_the_schedules():
    end = {"warmup_steps": 20, "final_lr": 0.1}
    assert optimizer(schedule="warmup_cosine", **end).rates(99)["backbone"] == pytest.approx(0.1)
    assert optimizer(schedule="warmup_cosine", **end).rates(59)["backbone"] == pytest.approx(0.55)
    assert optimizer(schedule="warmup_cosine", **end).rates(39)["backbone"] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert optimizer(schedule="warmup_linear", **end).rates(79)["backbone"] == pytest.approx(1 - 0.75 * 0.9)
    assert optimizer(schedule="warmup_linear", **end).rates(500)["backbone"] == pytest.approx(0.1)
    assert optimizer(schedule="warmup_constant", **end).rates(99)["backbone"] == 1.0
    assert optimizer(schedule="noam", **end).rates(79)["backbone"] == pytest.approx(0.5)  # sqrt(20 / 80)


def test_every_group_has_its_own_peak_and_warm_up():
    one = optimizer(schedule="warmup_constant", warmup_steps={"backbone": 10})
    assert one.rates(0) == pytest.approx({"backbone": 0.1, "heads": 0.1})
    assert one.step(4) == pytest.approx({"backbone": 0.5, "heads": 0.1})
    assert {group["name"]: group["lr"] for group in one.optimizers[0].param_groups} == pytest.approx({"backbone": 0.5, "heads": 0.1})


def test_a_warm_up_longer_than_the_run_is_no_error():
    assert optimizer(total=5, warmup_steps=1000).rates(4)["backbone"] == pytest.approx(0.005)


@pytest.mark.parametrize("kind", ["adamw", "adam"])
def test_a_step_is_torchs_and_vectors_do_not_decay(kind):
    torch.manual_seed(1)
    model = nn.Linear(3, 2)
    other = copy.deepcopy(model)
    ours = Optimizer(
        Optim(type=kind, schedule="warmup_constant", warmup_steps=1, weight_decay=0.1), {"backbone": list(model.named_parameters())}, 10
    )
    reference = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[kind]
    groups = [{"params": [other.weight], "weight_decay": 0.1}, {"params": [other.bias], "weight_decay": 0.0}]
    theirs = reference(groups, lr=5e-4, betas=(0.9, 0.98), foreach=False)
    for step in range(3):
        gradient = torch.randn(2, 3), torch.randn(2)
        for one in (model, other):
            one.weight.grad, one.bias.grad = gradient[0].clone(), gradient[1].clone()
        ours.step(step)
        theirs.step()
    assert torch.allclose(model.weight, other.weight, atol=1e-7) and torch.allclose(model.bias, other.bias, atol=1e-7)


def parts(seed: int = 0) -> list[tuple[str, list[nn.Parameter]]]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for name, factor in (("encoder", 5.0), ("asr", 0.01), ("cpc", 100.0)):
        parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((4, 3), (7,), ())]
        for parameter in parameters:
            parameter.grad = factor * torch.randn(parameter.shape, generator=generator)
        found.append((name, parameters))
    return found


def test_every_part_is_clipped_as_torch_clips_it_alone():
    ours, theirs = parts(), parts()
    norms = clip_groups(ours, 2.0)
    for (name, mine), (_, reference) in zip(ours, theirs, strict=True):
        assert norms[name] == pytest.approx(float(nn.utils.clip_grad_norm_(reference, 2.0)), rel=1e-6)
        for one, other in zip(mine, reference, strict=True):
            assert torch.allclose(one.grad, other.grad, rtol=1e-5)
    untouched = parts()[1][1]
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(ours[1][1], untouched, strict=True)), (
        "a small gradient keeps its bits"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_reported_and_spoils_no_other_part(value):
    found = parts()
    found[1][1][0].grad[0, 0] = value
    norms = clip_groups(found, 2.0)
    assert not math.isfinite(norms["asr"]) and math.isfinite(norms["encoder"])
    assert all(parameter.grad.isfinite().all() for parameter in found[0][1] + found[2][1])


def test_parts_without_gradient_are_left_out():
    found = parts()
    for parameter in found[2][1]:
        parameter.grad = None
    assert clip_groups(found, 2.0).keys() == {"encoder", "asr"}
    assert clip_groups([("none", [nn.Parameter(torch.zeros(2))])], 2.0) == {}


def mixed() -> tuple[nn.Module, dict]:
    torch.manual_seed(2)
    model = nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(4, 6), nn.Conv1d(6, 6, 3)), "head": nn.Linear(6, 4)})
    groups = {"backbone": list(model["encoder"].named_parameters("encoder")), "heads": list(model["head"].named_parameters("head"))}
    return model, groups


def moved(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for param in model.parameters():
            param.grad = torch.randn(param.shape, generator=generator)
        optimizer.step(step)


def test_muon_moves_the_matrices_of_the_backbone_and_adamw_the_rest():
    config = {"schedule": "warmup_constant", "warmup_steps": 1, "lr": Rates(backbone=0.01, heads=0.01)}
    (ours, groups), (theirs, reference) = mixed(), mixed()
    moved(ours, Optimizer(Optim(type="muon", **config), groups, 10), range(3))
    moved(theirs, Optimizer(Optim(type="adamw", **config), reference, 10), range(3))
    matrix = torch.nn.Parameter(mixed()[0]["encoder"][0].weight.detach().clone())
    muon = torch.optim.Muon([matrix], lr=0.03, weight_decay=0.01, ns_steps=3, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        matrix.grad = torch.randn(matrix.shape, generator=generator)
        muon.step()
    pairs = zip(ours.named_parameters(), theirs.parameters(), strict=True)
    different = {name for (name, mine), other in pairs if not torch.equal(mine, other)}
    assert different == {"encoder.0.weight"}
    assert torch.allclose(ours["encoder"][0].weight, matrix, atol=1e-3)


def test_experts_have_a_matrix_and_a_bias_each():
    """Muon moves the matrices, and no bias decays; without the names of stacks three dimensions are a kernel, and two a matrix."""
    layer = ExpertLinear(3, 4, 6)
    stacks = ["wide.weight", "wide.bias"]
    for names, moved, fixed in ((stacks, layer.weight, layer.bias), ([], layer.bias, layer.weight)):
        groups = {"backbone": list(layer.named_parameters("wide"))}
        muon, rest = Optimizer(Optim(type="muon", weight_decay=0.1), groups, 10, stacks=names).optimizers
        assert isinstance(muon, Muon) and muon.param_groups[0]["params"] == [moved]
        assert [group["params"] for group in rest.param_groups] == [[fixed]]
        assert rest.param_groups[0]["weight_decay"] == (0.0 if names else 0.1)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_moments_are_loaded_by_name_in_any_order(kind):
    config = Optim(type=kind, warmup_steps=1)
    (whole, groups), (resumed, again) = mixed(), mixed()
    optimizer = Optimizer(config, groups, 10)
    moved(whole, optimizer, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    resumed.load_state_dict(whole.state_dict())
    other = Optimizer(config, {name: list(reversed(again[name])) for name in reversed(again)}, 10)
    other.load_state_dict({name: state[name] for name in reversed(state)})
    moved(whole, optimizer, range(3, 5))
    moved(resumed, other, range(3, 5))
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [("encoder.0.bias", "optimizer.encoder.0.bias.exp_avg "), ("state", "moments of `state`.*--init_from")],
)
def test_moments_that_do_not_fit_are_named(name, message):
    model, groups = mixed()
    optimizer = Optimizer(Optim(), groups, 10)
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(7), "exp_avg_sq": torch.zeros(7)}
    with pytest.raises(UserError, match=message):
        optimizer.load_state_dict({name: moments})
