"""Multi-head attention: self-attention with rotary positions, and attention to another sequence."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from m2asr.errors import UserError

KeyValue = tuple[Tensor, Tensor]  # keys and values, (B, H, T, D/H) each


class SelfAttention(nn.Module):
    """LayerNorm and multi-head self-attention: (B, T, D) -> (B, T, D).

    `bias`, broadcast to (B, H, T, T), is added to the scores; it is -inf where one position must not see another. Raises UserError if
    `dim / heads` is not an even number.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % (2 * heads) != 0:
            raise UserError(f"dim {dim} and heads {heads}: dim / heads must be an even number, as rotary positions turn pairs of entries")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            batch, frames, dim = x.shape
            qkv = self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, dim // self.heads)
            return self.output(attend_to_self(qkv, bias))
        query, key, value = self._split(x, 0)  # (B, H, T, D/H)
        return self._mix(query, key, value, bias)

    def step(self, x: Tensor, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """Attention of the next position (B, 1, D) to itself and to the `past` (B, H, T, D/H); also returns the extended past."""
        query, key, value = self._split(x, 0 if past is None else past[0].shape[2])
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        return self._mix(query, key, value, None), (key, value)

    def _split(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        batch, frames, dim = x.shape
        return rotary_heads(self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, dim // self.heads), start)

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
    cos, sin = _row_tables(_table_size(frames), dim, qkv.dtype)
    bias = None if bias is None else bias.to(qkv.dtype)
    return _AttendToSelf.apply(qkv, bias, cos[:, :, :frames], sin[:, :, :frames])


class _AttendToSelf(torch.autograd.Function):
    """softmax(R(query) R(key)^T / sqrt(D) + bias) value, where R turns by the position; saves the operands of its matrix products."""

    @staticmethod
    def forward(ctx, qkv: Tensor, bias: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        batch, frames, _, heads, dim = qkv.shape
        rows = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * heads, frames, dim)  # query, key, value
        query, key = _turn(rows[:2], cos, sin)  # (B * H, T, D) each
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
        grads[:2] = _turn(grads[:2], cos, -sin)
        return grads.view(3, batch, -1, frames, dim).permute(1, 3, 0, 2, 4).contiguous(), None, None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of entries, one in each half of a row (..., D), in passes over complete rows: half rows are too short to vectorize."""
    return x.roll(x.shape[-1] // 2, -1).mul_(sin).addcmul_(x, cos)


def rotary_heads(qkv: Tensor, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Split (B, T, 3, H, D) into query, key and value (B, H, T, D), with rotary positions from `start` on in query and key.

    Pairs of entries turn by angles that grow with the position. So a score depends only on the distance of two positions
    (Su et al. 2021, RoFormer, equation 34).
    """
    end = start + qkv.shape[1]
    cos, sin = _tables(_table_size(end), qkv.shape[-1], qkv.dtype, qkv.device)
    return _RotaryHeads.apply(qkv, cos[start:end], sin[start:end])


class _RotaryHeads(torch.autograd.Function):
    """Split and rotation in one write. Its backward pass rotates back into one gradient and needs no saved tensors."""

    @staticmethod
    def forward(ctx, qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.tables = cos, sin
        batch, frames, _, heads, dim = qkv.shape
        out = qkv.new_empty(3, batch, heads, frames, dim)
        split = qkv.permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        _rotate(split[:2], cos, sin, out[:2])
        out[2].copy_(split[2])
        return out[0], out[1], out[2]

    @staticmethod
    @once_differentiable
    def backward(ctx, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.tables
        batch, heads, frames, dim = query.shape
        grad = query.new_empty(batch, frames, 3, heads, dim)
        split = grad.permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        _rotate(query, cos, -sin, split[0])
        _rotate(key, cos, -sin, split[1])
        split[2].copy_(value)
        return grad, None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    first, second = x.chunk(2, dim=-1)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)


def _table_size(frames: int) -> int:
    return max(512, 1 << (frames - 1).bit_length())


@functools.lru_cache(maxsize=8)
def _row_tables(frames: int, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of query and key (2, 1, T, D), those of the query divided by sqrt(D)."""
    with torch.inference_mode(False):
        cos, sin = _tables(frames, dim, torch.float64, torch.device("cpu"))
        scale = torch.tensor([dim**-0.5, 1.0], dtype=torch.float64)[:, None, None, None]
        return (scale * torch.cat([cos, cos], -1)).to(dtype), (scale * torch.cat([-sin, sin], -1)).to(dtype)


@functools.lru_cache(maxsize=8)
def _tables(frames: int, dim: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, D/2) of position times rate."""
    with torch.inference_mode(False):  # a table that decoding makes first is used in training too
        rates = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angles = torch.outer(torch.arange(frames, dtype=torch.float64), rates)
        return angles.cos().to(device, dtype), angles.sin().to(device, dtype)
