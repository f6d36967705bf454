"""Quantizers: nearest entries, noise by seed, straight-through gradients, temperature, perplexity."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from m2asr.errors import UserError
from m2asr.models.quantizers import GumbelQuantizer, NearestQuantizer, ProjectionQuantizer, code_counts, perplexity

KINDS = {"gumbel": GumbelQuantizer, "nearest": NearestQuantizer, "projection": ProjectionQuantizer}


def quantizer(kind, **options):
    torch.manual_seed(0)
    return KINDS[kind](6, **{"groups": 2, "entries": 5, "width": 8, **options}).double()


def states(count=40, seed=0):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_the_codes(kind, training):
    vectors, codes, probabilities, losses = quantizer(kind).train(training)(states(), seed=3)
    assert vectors.shape == (40, 8) and codes.shape == (40, 2) and probabilities.shape == (2, 5) and losses.shape == (40,)
    assert codes.dtype == torch.int64 and codes.min() >= 0 and codes.max() < 5
    assert torch.allclose(probabilities.sum(1), torch.ones(2, dtype=torch.float64))
    for pair in codes.unique(dim=0):
        same = vectors[(codes == pair).all(1)]
        assert torch.allclose(same, same[:1].expand_as(same), atol=1e-12)
    assert len(vectors.detach().round(decimals=9).unique(dim=0)) == len(codes.unique(dim=0)) > 5


def test_the_seed_decides_the_noise_of_training():
    made = quantizer("gumbel")
    torch.nn.init.zeros_(made.logits.weight)  # every code is equally likely
    first, again, other = (made(states(200), seed)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    shares = code_counts(first, 5) / 200
    assert (shares - 0.2).abs().max() < 4 * (0.2 * 0.8 / 200) ** 0.5
    made.eval()
    assert torch.equal(made(states(), 1)[1], made(states(), 2)[1])


def test_noise_follows_the_probabilities():
    """Gumbel noise draws a code with the probability of the softmax, whatever the temperature."""
    made = quantizer("gumbel", groups=1, entries=3, width=4)
    torch.nn.init.zeros_(made.logits.weight)
    made.logits.bias.data = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    _, codes, probabilities, _ = made(states(4000), 7)
    shares = code_counts(codes, 3)[0].double() / 4000
    assert (shares - probabilities[0]).abs().max() < 4 * (0.25 / 4000) ** 0.5
    assert torch.allclose(probabilities[0], torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))


def test_gumbel_gradients_go_straight_through():
    """Forward one code; backward the softmax at the present temperature. The entries get the gradient of the code alone."""
    made, x, weight = quantizer("gumbel", start=1.7), states().requires_grad_(), torch.randn(8, dtype=torch.float64)
    vectors, codes, _, _ = made(x, seed=5)
    got = torch.autograd.grad((vectors @ weight).sum(), [x, made.logits.weight, made.codebook])
    logits = made.logits(made.norm(x)).unflatten(-1, (2, 5))
    noise = -torch.empty_like(logits).exponential_(generator=torch.Generator().manual_seed(5)).log()
    soft = ((logits + noise) / 1.7).softmax(-1)
    assert torch.equal(soft.argmax(-1), codes)
    relaxed = made.output(torch.einsum("ngv,gvd->ngd", soft, made.codebook).flatten(1))
    hard = made.output(torch.einsum("ngv,gvd->ngd", F.one_hot(codes, 5).double(), made.codebook).flatten(1))
    assert torch.allclose(vectors, hard, atol=1e-12)
    expected = torch.autograd.grad((relaxed @ weight).sum(), [x, made.logits.weight], retain_graph=True)
    expected += torch.autograd.grad((hard @ weight).sum(), [made.codebook])
    for gradient, right in zip(got, expected, strict=True):
        assert right.abs().sum() > 0 and torch.allclose(gradient, right, atol=1e-12)


def test_the_nearest_entry_is_the_nearest():
    made, x = quantizer("nearest"), states()
    vectors, codes, probabilities, _ = made(x, 0)
    parts = F.normalize(made.projection(made.norm(x)).view(40, 2, 4), dim=-1)
    entries = F.normalize(made.codebook, dim=-1)
    for group in range(2):
        distances = torch.cdist(parts[:, group], entries[group])
        assert torch.equal(codes[:, group], distances.argmin(1))
        assert torch.allclose(vectors.view(40, 2, 4)[:, group], entries[group][codes[:, group]])
        assert torch.allclose(probabilities[group], (10 * parts[:, group] @ entries[group].T).softmax(-1).mean(0))


def test_nearest_gradients_go_straight_through():
    """The vectors' gradient passes to the states as it is and leaves the entries alone, which the quantizer's loss moves."""
    made, x, weight = quantizer("nearest", commitment=0.3), states().requires_grad_(), torch.randn(8, dtype=torch.float64)
    vectors, codes, _, losses = made(x, 0)
    parts = F.normalize(made.projection(made.norm(x)).view(40, 2, 4), dim=-1)
    got = torch.autograd.grad((vectors @ weight).sum(), [x, made.codebook], retain_graph=True, allow_unused=True)
    assert torch.allclose(got[0], torch.autograd.grad((parts.flatten(1) @ weight).sum(), x, retain_graph=True)[0], atol=1e-12)
    assert got[1] is None
    chosen = F.normalize(made.codebook, dim=-1)[torch.arange(2), codes]
    squares = (chosen - parts).square().sum(-1).mean(-1)
    assert torch.allclose(losses, 1.3 * squares)
    got = torch.autograd.grad(losses.sum(), [x, made.codebook])
    right = torch.autograd.grad(squares.sum(), [x, made.codebook])
    assert torch.allclose(got[0], 0.3 * right[0], atol=1e-12) and torch.allclose(got[1], right[1], atol=1e-12)


def test_a_projection_is_frozen_and_saved():
    made, other = quantizer("projection"), quantizer("projection", seed=1)
    assert not list(made.parameters()) and set(made.state_dict()) == {"projection", "codebook"}
    assert torch.equal(made.codebook, quantizer("projection").codebook) and not torch.equal(made.codebook, other.codebook)
    x = states().requires_grad_()
    vectors, codes, _, losses = made(x, 0)
    assert not vectors.requires_grad and not losses.any()
    parts = (F.layer_norm(x, (6,)) @ made.projection).view(40, 2, 4)
    nearest = [torch.cdist(F.normalize(parts[:, group], dim=-1), made.codebook[group]).argmin(1) for group in range(2)]
    assert torch.equal(codes, torch.stack(nearest, dim=1))
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(x, 0)[1], codes)
    assert torch.equal(made(10 * x + 3, 0)[1], codes)  # scale and offset of the states make no difference


def test_the_temperature_follows_the_steps_that_are_saved():
    made = quantizer("gumbel", start=2.0, end=0.5, decay=0.9)
    temperatures = []
    for _ in range(20):
        temperatures.append(float(made.temperature))
        made(states(), 1)  # a forward pass, as there are several in a step, changes nothing
        made.after_step()
    assert temperatures == pytest.approx([max(0.5, 2 * 0.9**step) for step in range(20)]) and temperatures[-1] == 0.5
    resumed = quantizer("gumbel", start=2.0, end=0.5, decay=0.9)
    for _ in range(5):
        resumed.after_step()
    again = quantizer("gumbel", start=2.0, end=0.5, decay=0.9)
    again.load_state_dict(resumed.state_dict())
    assert float(again.temperature) == float(resumed.temperature) == temperatures[5]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_found_in_float32_under_bfloat16(kind):
    made, x = quantizer(kind).float(), states().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors, codes, _, _ = made(x, 1)
    assert vectors.dtype == torch.float32 and torch.equal(codes, made(x.float(), 1)[1])


def test_perplexity_of_known_codes():
    codes = torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3]])
    counts = code_counts(codes, 4)
    assert counts.tolist() == [[4, 0, 0, 0], [1, 1, 1, 1]]
    assert perplexity(counts).item() == pytest.approx((1 + 4) / 2)
    assert perplexity(torch.tensor([[3.0, 1.0, 0.0]])).item() == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))


def test_perplexity_of_a_single_code_has_a_gradient():
    logits = torch.tensor([[1000.0, 0.0, 0.0]], requires_grad=True)
    perplexity(logits.softmax(-1)).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("gumbel", {"entries": 1}, "quantizer.entries: 1 is too small; give at least 2"),
        ("gumbel", {"groups": 0}, "quantizer.groups: 0 is too small"),
        ("nearest", {"width": 7}, "quantizer.width: 7 is not divisible by `groups`, 2"),
        ("gumbel", {"end": 3.0}, "quantizer.end: 3 is not above 0 and at most `start`, 2"),
        ("gumbel", {"end": 0.0}, "quantizer.end: 0 is not above 0"),
        ("gumbel", {"decay": 1.5}, "quantizer.decay: 1.5 is not possible"),
        ("nearest", {"commitment": -1.0}, "quantizer.commitment: -1 is not possible"),
    ],
)
def test_impossible_options_are_told(kind, options, message):
    with pytest.raises(UserError, match=message):
        quantizer(kind, **options)
