"""Attention and rotary positions against their definitions."""

from __future__ import annotations

import torch

from m2asr.models.attention import attend, rotary_heads


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
