"""Rates per group as functions of the position, decay of matrices only, clipping part by part."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

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
    assert {group["name"]: group["lr"] for group in one.inner.param_groups} == pytest.approx({"backbone": 0.5, "heads": 0.1})


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
