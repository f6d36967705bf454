"""Multi-head attention: self-attention with rotary positions, and attention to another sequence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from m2asr.errors import UserError
from m2asr.models.key_values import PastKeyValues
from m2asr.models.local_attention import BlockBias, attend_in_blocks
from m2asr.models.rotary import rotary_heads, row_tables, turn

KeyValue = tuple[Tensor, Tensor]  # keys and values, (B, H, T, D/H) each


class SelfAttention(nn.Module):
    """LayerNorm and multi-head self-attention: (B, T, D) -> (B, T, D).

    `bias`, broadcast to (B, H, T, T), is added to the scores; it is -inf where one position must not see another. A `BlockBias` does the
    same in blocks. Raises UserError if `dim / heads` is not an even number.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % (2 * heads) != 0:
            raise UserError(f"dim {dim} and heads {heads}: dim / heads must be an even number, as rotary positions turn pairs of entries")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | BlockBias | None) -> Tensor:
        if isinstance(bias, BlockBias):
            return self.output(attend_in_blocks(self._project(x), bias))
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            return self.output(attend_to_self(self._project(x), bias))
        query, key, value = self._split(x, 0)  # (B, H, T, D/H)
        return self._mix(query, key, value, bias)

    def step(self, x: Tensor, past: PastKeyValues) -> Tensor:
        """Attention of the next position (N, 1, D) of N sequences to itself and to their `past`, which it extends."""
        query, key, value = self._split(x, past.length)
        return self._mix(query, *past.extend(key, value), None)

    def _project(self, x: Tensor) -> Tensor:
        batch, frames, dim = x.shape
        return self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, dim // self.heads)

    def _split(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        return rotary_heads(self._project(x), start)

    def _mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        mixed = attend(query, key, value, None if bias is None else bias.to(query.dtype))
        return self.output(mixed.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """LayerNorm and multi-head attention to a memory: queries (B, U, D) see keys and values (B, H, T, D/H), without positions.

    `keys` computes the keys and values of a memory (B, T, S), so that many steps can use them. Raises UserError if `heads` does not
    divide `dim`.
    """

    def __init__(self, dim: int, memory_dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads != 0:
            raise UserError(f"dim {dim} and heads {heads}: heads must divide dim")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(memory_dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def keys(self, memory: Tensor) -> KeyValue:
        """Keys and values (B, H, T, D/H) of a memory (B, T, S)."""
        key, value = self.key_value(memory).chunk(2, dim=-1)
        return self._heads(key), self._heads(value)

    def forward(self, x: Tensor, keys: KeyValue, bias: Tensor | None) -> Tensor:
        query = self._heads(self.query(self.norm(x)))  # (B, H, U, D/H)
        mixed = attend(query, *keys, None if bias is None else bias.to(query.dtype))
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def padding_bias(valid: Tensor, lengths: Tensor) -> Tensor:
    """The bias (B, 1, 1, T) that hides the positions that are not `valid` (B, T).

    In an utterance of length 0 nothing is hidden: a softmax over -inf alone would be NaN.
    """
    visible = valid | (lengths == 0)[:, None]
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, float("-inf"))[:, None, None, :]


def causal_bias(size: int, device: torch.device) -> Tensor:
    """The bias (T, T) that hides later positions from earlier ones."""
    return torch.full((size, size), float("-inf"), device=device).triu_(1)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention (B, H, T, D) by torch's fused kernel.

    In bfloat16 on a CPU it takes three plain steps instead: a third of the fused kernel's time, forward and backward.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # (B, H, T, T)
    if bias is not None:
        scores += bias
    return scores.softmax(dim=-1) @ value


def attend_to_self(qkv: Tensor, bias: Tensor | None) -> Tensor:
    """Self-attention with rotary positions from (B, T, 3, H, D) to (B, T, H * D): `rotary_heads` and `attend` in one function.

    It takes half of their time on a CPU in bfloat16: rotations run over complete rows, and the query's rotation holds the scale.
    """
    frames, dim = qkv.shape[1], qkv.shape[-1]
    bias = None if bias is None else bias.to(qkv.dtype)
    return _AttendToSelf.apply(qkv, bias, *row_tables(frames, dim, qkv.dtype))


class _AttendToSelf(torch.autograd.Function):
    """softmax(R(query) R(key)^T / sqrt(D) + bias) value, where R turns by the position; saves the operands of its matrix products."""

    @staticmethod
    def forward(ctx, qkv: Tensor, bias: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        batch, frames, _, heads, dim = qkv.shape
        rows = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * heads, frames, dim)  # query, key, value
        query, key = turn(rows[:2], cos, sin)  # (B * H, T, D) each
        scores = query @ key.transpose(1, 2)  # (B * H, T, T)
        if bias is not None:
            scores.view(batch, heads, frames, frames).add_(bias)
        attention = scores.softmax(dim=-1)
        ctx.save_for_backward(query, key, rows[2], attention)
        ctx.tables = cos, sin
        return (attention @ rows[2]).view(batch, heads, frames, dim).transpose(1, 2).reshape(batch, frames, heads * dim)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        query, key, value, attention = ctx.saved_tensors
        cos, sin = ctx.tables
        batch, (rows, frames, dim) = len(grad), query.shape
        grad = grad.view(batch, frames, rows // batch, dim).transpose(1, 2).reshape(rows, frames, dim)
        grads = query.new_empty(3, rows, frames, dim)
        torch.bmm(attention.transpose(1, 2), grad, out=grads[2])
        scores = torch._softmax_backward_data(grad @ value.transpose(1, 2), attention, -1, attention.dtype)  # (B * H, T, T)
        torch.bmm(scores, key, out=grads[0])
        torch.bmm(scores.transpose(1, 2), query, out=grads[1])
        grads[:2] = turn(grads[:2], cos, -sin)
        return grads.view(3, batch, -1, frames, dim).permute(1, 3, 0, 2, 4).contiguous(), None, None, None
