"""Properties of the Transformer encoder: what it has beside those of every encoder, which test_conformer.py holds."""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.models.experts import Experts
from m2asr.models.transformer import Transformer

FEAT_DIM = 20


def transformer(**options: object) -> Transformer:
    torch.manual_seed(0)
    return Transformer(FEAT_DIM, blocks=2, dim=16, heads=2, dropout=0.0, subsampling="windows", **options).double().eval()


def states(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_output_is_normalized_and_blocks_are_not():
    made, x = transformer(), states(2, 7)
    found = made(x, torch.tensor([7, 5]), made.taps)
    torch.testing.assert_close(found["output"], made.norm(found["block2"]), rtol=0, atol=1e-12)
    alone = x
    for block in made.blocks:
        alone = block(alone[:1], None, None)[0]
    torch.testing.assert_close(found["block2"][:1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("experts", [None, Experts(count=3)], ids=["dense", "experts"])
def test_padding_and_neighbours_change_no_state(experts):
    made, x = transformer(experts=experts), states(3, 9)
    together = made(x, torch.tensor([9, 6, 1]), ["output"])["output"]
    for row, length in enumerate([9, 6, 1]):
        alone = made(x[row : row + 1, :length], torch.tensor([length]), ["output"])["output"]
        torch.testing.assert_close(together[row, :length], alone[0], rtol=0, atol=1e-12)


def test_a_causal_pass_sees_nothing_later():
    made, x = transformer(), states(1, 8)
    later = x.clone()
    later[:, 5:] = later[:, 5:].flip(-1)  # no shift, which LayerNorm would take away
    before, after = (made(given, torch.tensor([8]), ["output"], causal=True)["output"] for given in (x, later))
    assert torch.equal(before[:, :5], after[:, :5]) and not torch.allclose(before[:, 5:], after[:, 5:])


def test_a_width_that_does_not_fit():
    with pytest.raises(UserError, match="heads"):
        Transformer(FEAT_DIM, dim=18, heads=4)
