"""Copies of weights in bfloat16 against autocast's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from m2asr.models.conformer import Conformer
from m2asr.moo.rows import GradientRows
from m2asr.train.precision import ShortWeights, autocast

CPU = torch.device("cpu")


@pytest.fixture
def encoder() -> Conformer:
    torch.manual_seed(0)
    return Conformer(20, blocks=2, dim=16, heads=2, kernel=5, ff_mult=2, dropout=0.0)


def states_of(encoder: Conformer) -> torch.Tensor:
    feats = torch.randn(2, 50, 20, generator=torch.Generator().manual_seed(1))
    with autocast(CPU, torch.bfloat16):
        lengths = encoder.output_lengths(torch.tensor([50, 37]))
        return encoder(encoder.frontend(feats), lengths)["output"]


def test_states_and_gradients_are_those_of_autocast(encoder: Conformer) -> None:
    rows = GradientRows(list(encoder.parameters()))
    weights = ShortWeights(encoder, torch.bfloat16)
    with rows.accumulate_into(0):
        theirs = states_of(encoder)
        theirs.float().square().mean().backward()
    with rows.accumulate_into(1, weights.copies):
        with weights.in_place():
            ours = states_of(encoder)
        ours.float().square().mean().backward()
    assert torch.equal(ours, theirs) and len(weights.copies) > 20
    assert torch.equal(rows.row(0), rows.row(1)) and rows.row(0).count_nonzero() > 1000


def test_the_module_has_its_own_weights_again(encoder: Conformer) -> None:
    before = list(encoder.parameters())
    weights = ShortWeights(encoder, torch.bfloat16)
    with pytest.raises(ValueError), weights.in_place():
        assert encoder.blocks[0].attention.qkv.weight.dtype == torch.bfloat16
        raise ValueError
    assert all(one is other for one, other in zip(before, encoder.parameters(), strict=True))


def test_float32_and_frozen_weights_have_no_copies() -> None:
    layer = nn.Linear(2, 3)
    assert not ShortWeights(layer, torch.float32).copies
    layer.weight.requires_grad_(False)
    assert list(ShortWeights(layer, torch.bfloat16).copies) == [layer.bias]
