"""Attention and rotary positions against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from m2asr.models.attention import SelfAttention, attend, attend_to_self, causal_bias, padding_bias
from m2asr.models.rotary import rotary_heads


def test_rotary_heads_pass_gradcheck() -> None:
    qkv = torch.randn(2, 5, 3, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotary_heads, (qkv,))


def test_rotary_scores_depend_on_distance_alone() -> None:
    same = torch.randn(1, 1, 3, 2, 8, dtype=torch.float64).expand(1, 9, 3, 2, 8)  # one vector at all positions
    query, key, value = rotary_heads(same)
    scores = query @ key.transpose(-1, -2)  # (1, H, T, T)
    for distance in range(-8, 9):
        diagonal = scores.diagonal(distance, 2, 3)
        torch.testing.assert_close(diagonal, diagonal[..., :1].expand_as(diagonal))
    assert (scores[0, 0, 0] - scores[0, 0, 0, 0]).abs().max() > 1e-3
    torch.testing.assert_close(query.norm(dim=-1), same[:, :, 0].norm(dim=-1).transpose(1, 2))
    torch.testing.assert_close(value, same[:, :, 2].transpose(1, 2))


def test_bfloat16_attention_equals_the_fused_kernel() -> None:
    query, key, value = torch.randn(3, 2, 2, 11, 8).unbind(0)
    bias = torch.zeros(2, 1, 1, 11)
    bias[1, ..., 7:] = float("-inf")
    exact = attend(query, key, value, bias)
    short = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), bias.bfloat16())
    torch.testing.assert_close(short.float(), exact, rtol=0.05, atol=0.03)


@pytest.fixture(params=["no bias", "padding", "later positions"])
def bias(request: pytest.FixtureRequest) -> Tensor | None:
    lengths = torch.tensor([5, 3])
    biases = {
        "no bias": None,
        "padding": padding_bias(torch.arange(5) < lengths[:, None], lengths),
        "later positions": causal_bias(5, torch.device("cpu")),
    }
    return biases[request.param]


def test_attention_to_self_in_one_function_equals_its_steps(bias: Tensor | None) -> None:
    qkv = torch.randn(2, 5, 3, 2, 6, dtype=torch.float64, requires_grad=True)
    fused = attend_to_self(qkv, bias)
    steps = attend(*rotary_heads(qkv), None if bias is None else bias.double()).transpose(1, 2).flatten(2)
    torch.testing.assert_close(fused, steps)
    grad = torch.randn_like(fused)
    torch.testing.assert_close(torch.autograd.grad(fused, qkv, grad)[0], torch.autograd.grad(steps, qkv, grad)[0])


def test_attention_to_self_passes_gradcheck(bias: Tensor | None) -> None:
    qkv = torch.randn(2, 5, 3, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attend_to_self(x, bias), (qkv,))


def test_attention_to_self_goes_backward_twice_through_one_graph() -> None:
    qkv = torch.randn(2, 5, 3, 2, 6, requires_grad=True)
    loss = attend_to_self(qkv, None).square().sum()
    first = torch.autograd.grad(loss, qkv, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, qkv)[0]) and first.abs().sum() > 0


def test_bfloat16_self_attention_equals_float32() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(16, 2), torch.randn(2, 5, 16)
    lengths = torch.tensor([5, 3])
    bias = padding_bias(torch.arange(5) < lengths[:, None], lengths)
    exact = attention(x, bias)
    with torch.autocast("cpu", torch.bfloat16):
        short = attention(x.bfloat16(), bias)
    torch.testing.assert_close(short.float(), exact, rtol=0.05, atol=0.02)
