"""The exact RNN transducer loss (Graves 2012) without the joint of all states and tokens in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from m2asr.objectives.rnnt_lattice import NEVER, Posteriors, log_likelihood, posteriors

BLANK = 0
ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}  # numbers in a block: on a CPU they stay in its caches, a GPU needs large blocks


def rnnt_loss(
    encoded: Tensor,
    predicted: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    frames: Sequence[int],
    tokens: Sequence[int],
    elements: int | None = None,
    cells: Tensor | None = None,
) -> Tensor:
    """The losses (B,) -log P(target | states), with the joint logits W tanh(e_t + p_u) + b and their log-softmax.

    The logits of a block of cells are computed and reduced to the log-probabilities of the blank and of the next token. The backward pass
    computes them again: the gradient of logit k in cell (t, u) is P(t, u) softmax_k, less the probability that an alignment leaves the
    cell by k (Graves 2012, section 2.4, equation 20). Cells outside the lengths are never computed. On a CPU the backward pass leaves out
    the cells of a state whose probabilities sum to less than the rounding of the number type.

    The matrix products are made in the type of `encoded`, losses, softmax and sums in float32 or better, and the recursion in float64.

    Args:
        encoded: projections of the encoder's states (B, T, J).
        predicted: projections of the predictor's states (B, U + 1, J), the first one before any token.
        weight, bias: the output layer, (V, J) and (V,).
        targets: token ids (B, U); 0 is the blank.
        frames: numbers of states of every utterance, at least 1; on the host.
        tokens: numbers of tokens of every utterance, which may be 0; on the host.
        elements: maximum number of logits and tanh values of a block, J + V per cell; the default depends on the device. The backward
            pass has as many gradients beside them.
        cells: the cells (N,) that alignments may pass, as numbers (b T + t) (U + 1) + u, such as those of `pruned_cells`; default: all.

    Raises ValueError for lengths that the tensors do not have.
    """
    frames, tokens = [int(size) for size in frames], [int(size) for size in tokens]
    if not all(1 <= size <= encoded.shape[1] for size in frames) or not all(0 <= size < predicted.shape[1] for size in tokens):
        raise ValueError(f"lengths {frames} and {tokens} do not fit {encoded.shape[1]} states and {predicted.shape[1] - 1} tokens")
    elements = elements or ELEMENTS.get(encoded.device.type, ELEMENTS["cuda"])
    if cells is None:
        cells = all_cells(frames, tokens, encoded.shape[1], predicted.shape[1]).to(encoded.device)
    with torch.autocast(encoded.device.type, enabled=False):
        return _RnntLoss.apply(encoded, predicted.to(encoded.dtype), weight, bias, targets, frames, tokens, elements, cells)


def all_cells(frames: Sequence[int], tokens: Sequence[int], size: int, width: int) -> Tensor:
    """The numbers (N,) of all cells within the lengths, of a table (B, `size`, `width`); on the host."""
    sizes, widths = np.asarray(frames)[:, None, None], np.asarray(tokens)[:, None, None] + 1
    inside = (np.arange(size)[:, None] < sizes) & (np.arange(width) < widths)  # (B, T, U + 1)
    return torch.from_numpy(np.flatnonzero(inside))


class _RnntLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        encoded: Tensor,
        predicted: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        frames: list[int],
        tokens: list[int],
        elements: int,
        cells: Tensor,
    ) -> Tensor:
        joint = _Joint(encoded, predicted, weight, bias, targets)
        shape, ctx.block = (*encoded.shape[:2], predicted.shape[1]), max(1, elements // sum(weight.shape))
        blank, label, norm = (torch.full(shape, NEVER, dtype=joint.wide, device=encoded.device) for _ in range(3))  # (B, T, U + 1)
        for block in cells.split(ctx.block):
            _reduce(joint, block, blank, label, norm)
        lengths = [torch.tensor(sizes, device=encoded.device, dtype=torch.long) for sizes in (frames, tokens)]
        if not any(ctx.needs_input_grad):
            return -log_likelihood(blank.double(), label.double(), *lengths).to(joint.wide)
        lattice = posteriors(blank.double(), label.double(), *lengths)
        cells = _with_gradient(lattice, cells, joint.wide)
        tables = [table.flatten()[cells].to(joint.wide) for table in (lattice.log_cell - norm, lattice.blank, lattice.label)]  # (N,) each
        ctx.save_for_backward(encoded, predicted, weight, bias, targets, cells, *tables)
        return -lattice.log_likelihood.to(joint.wide)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, cells, shift, blank, label = ctx.saved_tensors
        joint = _Joint(*inputs)
        sums = [torch.zeros(x.shape, dtype=joint.wide, device=x.device) for x in inputs[:4]]
        for block in zip(*(table.split(ctx.block) for table in (cells, shift, blank, label)), strict=True):
            _add_gradients(joint, *block, gradient.to(joint.wide), sums)
        return *(total.to(x.dtype) for total, x in zip(sums, inputs, strict=False)), None, None, None, None, None


class _Joint:
    """The joint network: the inputs of the loss in the types in which they are multiplied and summed."""

    def __init__(self, encoded: Tensor, predicted: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> None:
        self.frames, self.width = encoded.shape[1], predicted.shape[1]
        self.encoded, self.predicted = encoded.flatten(0, 1), predicted.flatten(0, 1)  # (B T, J), (B (U + 1), J)
        self.weight, self.bias = weight.to(encoded.dtype), bias.to(encoded.dtype)
        self.following = torch.cat([targets, targets.new_zeros(len(targets), 1)], dim=1).flatten()  # nothing follows the last token
        self.wide = torch.promote_types(encoded.dtype, torch.float32)

    def rows(self, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The utterances (N,) of cells, and their rows of `encoded` and of `predicted`."""
        states = cells // self.width
        utterances = states // self.frames
        return utterances, states, cells + (utterances - states) * self.width

    def hidden(self, states: Tensor, texts: Tensor) -> Tensor:
        """tanh(e + p), (N, J), of rows of `encoded` and of `predicted`."""
        return self.encoded.index_select(0, states).add_(self.predicted.index_select(0, texts)).tanh_()

    def logits(self, hidden: Tensor) -> Tensor:
        """The logits (N, V) of hidden states (N, J), in float32 or better."""
        return torch.addmm(self.bias, hidden, self.weight.T).to(self.wide)


def _reduce(joint: _Joint, cells: Tensor, blank: Tensor, label: Tensor, norm: Tensor) -> None:
    """Write the log-probabilities of blank and next token, and the logarithm of the softmax's divisor, into the tables (B, T, U + 1)."""
    _, states, texts = joint.rows(cells)
    logits = joint.logits(joint.hidden(states, texts))
    of_blank, of_label = logits[:, BLANK].clone(), logits.gather(1, joint.following[texts, None]).squeeze(1)  # (N,)
    highest = logits.amax(1, keepdim=True)
    divisor = logits.sub_(highest).exp_().sum(1).log_().add_(highest.squeeze(1))  # in place: half the memory of torch.logsumexp
    for table, values in ((blank, of_blank - divisor), (label, of_label - divisor), (norm, divisor)):
        table.view(-1).index_copy_(0, cells, values)


def _add_gradients(joint: _Joint, cells: Tensor, shift: Tensor, blank: Tensor, label: Tensor, scales: Tensor, sums: list[Tensor]) -> None:
    """Add the gradients of cells (N,), times the scale (B,) of their utterance, to the `sums` of states, predictions, weight and bias.

    shift (N,): log of the cells' probability over the softmax's divisor; blank, label (N,): probabilities of the two ways to leave.
    """
    encoded, predicted, weight, bias = sums
    utterances, states, texts = joint.rows(cells)
    hidden, scale = joint.hidden(states, texts), scales[utterances, None]  # (N, J), (N, 1)
    of_logits = joint.logits(hidden).add_(shift[:, None]).exp_()  # (N, V) P(t, u) softmax
    of_logits[:, BLANK] -= blank
    of_logits.scatter_add_(1, joint.following[texts, None], -label[:, None])
    bias.addmv_(of_logits.T, scale.squeeze(1))
    of_logits = of_logits.to(hidden.dtype)
    scaled = hidden * scale.to(hidden.dtype)
    if weight.dtype == hidden.dtype:
        weight.addmm_(of_logits.T, scaled)
    else:
        weight.add_(of_logits.T @ scaled)
    of_hidden = (of_logits @ joint.weight).to(joint.wide)  # (N, J)
    of_sum = torch.addcmul(scale, scaled, hidden, value=-1.0).mul_(of_hidden)  # the derivative of tanh is 1 - tanh ** 2
    encoded.flatten(0, 1).index_add_(0, states, of_sum)
    predicted.flatten(0, 1).index_add_(0, texts, of_sum)


def _with_gradient(lattice: Posteriors, cells: Tensor, dtype: torch.dtype) -> Tensor:
    """The cells (N,) that have a gradient.

    On a CPU cells are left out whose probabilities sum, in a state, to less than half the rounding of `dtype`. Other devices would have to
    be waited for.
    """
    if cells.device.type != "cpu":
        return cells
    least = torch.finfo(dtype).eps / 2 / lattice.log_cell.shape[2]
    return cells[lattice.log_cell.flatten()[cells] > np.log(least)]
