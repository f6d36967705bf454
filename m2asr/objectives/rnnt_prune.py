"""A band of the cells of a transducer's lattice, chosen by a joiner that adds logits (Kuang et al. 2022, Pruned RNN-T)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from m2asr.objectives.rnnt import BLANK
from m2asr.objectives.rnnt_lattice import posteriors


def sum_loss(encoded: Tensor, predicted: Tensor, targets: Tensor, frames: Sequence[int], tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The losses (B,) of a transducer whose logits are the sums of `encoded` (B, T, V) and `predicted` (B, U + 1, V), and its cells.

    The second tensor (B, T, U + 1) holds the probability that an alignment passes a cell, given the target; it has no gradient. The divisor
    of the softmax in all cells is one product of matrices (Kuang et al. 2022, section 2.1), in float64, so that it is exact where states
    and predictor disagree, as far as their logits differ by less than 700. Targets (B, U); lengths are on the host.
    """
    with torch.autocast(encoded.device.type, enabled=False):
        blank, label = _log_probs(encoded, predicted, targets)
    lengths = [torch.tensor(sizes, device=encoded.device, dtype=torch.long) for sizes in (frames, tokens)]
    return _LatticeLoss.apply(blank, label, *lengths)


def _log_probs(encoded: Tensor, predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probabilities of the blank and of the next token in all cells, (B, T, U + 1) both."""
    highest = [logits.detach().amax(2, keepdim=True) for logits in (encoded, predicted)]  # (B, T, 1), (B, U + 1, 1)
    powers = [(logits - most).double().exp() for logits, most in zip((encoded, predicted), highest, strict=True)]
    tiny = torch.finfo(torch.float64).tiny
    norm = (powers[0] @ powers[1].mT).clamp(min=tiny).log().to(encoded.dtype) + highest[0] + highest[1].mT  # (B, T, U + 1)
    blank = encoded[:, :, BLANK, None] + predicted[:, None, :, BLANK] - norm
    following = torch.cat([targets, targets.new_zeros(len(targets), 1)], dim=1)  # (B, U + 1); nothing follows the last token
    of_states = encoded.gather(2, following[:, None].expand(-1, encoded.shape[1], -1))  # (B, T, U + 1)
    return blank, of_states + predicted.gather(2, following[:, :, None]).mT - norm


def pruned_cells(passed: Tensor, frames: Sequence[int], tokens: Sequence[int], width: int) -> Tensor:
    """The numbers (N,) of a band of cells for `rnnt_loss`: `width` neighbours in every state, where they are passed most probably.

    The band starts at no token, ends at the last one, and goes on from a state to the next one by less than its width, so that there are
    alignments within it. A band is wider where there are many tokens for few states. passed (B, T, U + 1): probability of cells; frames,
    tokens (B,): lengths, on the host.
    """
    frames, tokens = (np.asarray(sizes, dtype=np.int64) for sizes in (frames, tokens))
    widths = np.minimum(np.maximum(width, -(-tokens // frames) + 1), tokens + 1)  # (B,)
    starts = _starts(passed, *(torch.from_numpy(values).to(passed.device) for values in (frames, tokens + 1 - widths, widths)))
    inside = np.arange(passed.shape[1])[:, None] < frames[:, None, None]  # (B, T, 1)
    inside = inside & (np.arange(widths.max(initial=0)) < widths[:, None, None])  # (B, T, W)
    states, columns = (torch.from_numpy(values).to(passed.device) for values in np.divmod(np.flatnonzero(inside), inside.shape[2]))
    return states * passed.shape[2] + starts.flatten()[states] + columns


def _starts(passed: Tensor, frames: Tensor, last: Tensor, widths: Tensor) -> Tensor:
    """The first token of the band in every state (B, T); last (B,): the largest possible one."""
    most, steps = last[:, None], widths[:, None] - 1  # (B, 1)
    t, u = (torch.arange(size, device=passed.device) for size in passed.shape[1:])
    sums = torch.nn.functional.pad(passed.cumsum(2), (1, 0))  # (B, T, U + 2)
    ends = (u + widths[:, None]).clamp(max=len(u))[:, None].expand_as(passed)  # (B, T, U + 1)
    starts = (sums.gather(2, ends) - sums[:, :, :-1]).argmax(2)  # (B, T)
    starts = torch.minimum(starts, steps * t).maximum(most - steps * (frames[:, None] - 1 - t).clamp(min=0)).clamp(min=0)
    starts = starts.flip(1).cummin(1).values.flip(1)  # no state begins before the one before it
    return (starts - steps * t).flip(1).cummax(1).values.flip(1) + steps * t  # nor further on than the band of that one


class _LatticeLoss(torch.autograd.Function):
    """The losses of log-probabilities in all cells; their gradients are the probabilities to leave a cell by blank or token, negated."""

    @staticmethod
    def forward(ctx: FunctionCtx, blank: Tensor, label: Tensor, frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        lattice = posteriors(blank.double(), label.double(), frames, tokens)
        ctx.save_for_backward(lattice.blank.to(blank.dtype), lattice.label.to(label.dtype))
        passed = lattice.log_cell.exp().to(blank.dtype)
        ctx.mark_non_differentiable(passed)
        return -lattice.log_likelihood.to(blank.dtype), passed

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        blank, label = (table * -gradient[:, None, None] for table in ctx.saved_tensors)
        return blank, label, None, None
