"""The exact RNN transducer loss (Graves 2012) without the joint of all states and tokens in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from m2asr.objectives.rnnt_lattice import Posteriors, log_likelihood, posteriors

BLANK = 0
ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}  # numbers in a block: on a CPU they stay in its caches, a GPU needs large blocks


@dataclass(frozen=True)
class Block:
    """The cells of utterance `row` with states from `t0` to `t1` and numbers of tokens from `u0` to `u1`, both ends excluded."""

    row: int
    t0: int
    t1: int
    u0: int
    u1: int


def rnnt_loss(
    encoded: Tensor,
    predicted: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    frames: Sequence[int],
    tokens: Sequence[int],
    elements: int | None = None,
) -> Tensor:
    """The losses (B,) -log P(target | states), with the joint logits W tanh(e_t + p_u) + b and their log-softmax.

    The logits of a block of cells are computed and reduced to the log-probabilities of the blank and of the next token. The backward pass
    computes them again: the gradient of logit k in cell (t, u) is P(t, u) softmax_k, less the probability that an alignment leaves the
    cell by k (Graves 2012, section 2.4, equation 20). Cells outside the lengths are never computed. On a CPU the backward pass leaves out
    the first and last cells of a state whose probabilities sum to less than the rounding of the number type.

    The matrix products are made in the type of `encoded`, losses, softmax and sums in float32 or better, and the recursion in float64.

    Args:
        encoded: projections of the encoder's states (B, T, J).
        predicted: projections of the predictor's states (B, U + 1, J), the first one before any token.
        weight, bias: the output layer, (V, J) and (V,).
        targets: token ids (B, U); 0 is the blank.
        frames: numbers of states of every utterance, at least 1; on the host.
        tokens: numbers of tokens of every utterance, which may be 0; on the host.
        elements: maximum number of logits and tanh values in memory, J + V per cell; the default depends on the device.

    Raises ValueError for lengths that the tensors do not have.
    """
    frames, tokens = [int(size) for size in frames], [int(size) for size in tokens]
    if not all(1 <= size <= encoded.shape[1] for size in frames) or not all(0 <= size < predicted.shape[1] for size in tokens):
        raise ValueError(f"lengths {frames} and {tokens} do not fit {encoded.shape[1]} states and {predicted.shape[1] - 1} tokens")
    elements = elements or ELEMENTS.get(encoded.device.type, ELEMENTS["cuda"])
    with torch.autocast(encoded.device.type, enabled=False):
        return _RnntLoss.apply(encoded, predicted.to(encoded.dtype), weight, bias, targets, frames, tokens, elements)


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
    ) -> Tensor:
        joint = _Joint(encoded, predicted, weight, bias, targets)
        shape, cells = (*encoded.shape[:2], predicted.shape[1]), max(1, elements // sum(weight.shape))
        blank, label, norm = (torch.zeros(shape, dtype=joint.wide, device=encoded.device) for _ in range(3))  # (B, T, U + 1)
        for row, (size, width) in enumerate(zip(frames, tokens, strict=True)):
            for block in _blocks(row, [(0, width + 1)] * size, cells):
                _reduce(joint, block, blank, label, norm)
        lengths = [torch.tensor(sizes, device=encoded.device) for sizes in (frames, tokens)]
        if not any(ctx.needs_input_grad):
            return -log_likelihood(blank.double(), label.double(), *lengths).to(joint.wide)
        lattice = posteriors(blank.double(), label.double(), *lengths)
        bands = _bands(lattice, frames, tokens, joint.wide)
        ctx.blocks = [block for row, of_row in enumerate(bands) for block in _blocks(row, of_row, cells)]
        tables = [table.to(joint.wide) for table in (lattice.log_cell - norm, lattice.blank, lattice.label)]
        ctx.save_for_backward(encoded, predicted, weight, bias, targets, *tables)
        return -lattice.log_likelihood.to(joint.wide)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, shift, blank, label = ctx.saved_tensors
        joint = _Joint(*inputs)
        sums = [torch.zeros(x.shape, dtype=joint.wide, device=x.device) for x in inputs[:4]]
        for block in ctx.blocks:
            area = (block.row, slice(block.t0, block.t1), slice(block.u0, block.u1))
            _add_gradients(joint, block, shift[area], blank[area], label[area], gradient[block.row].to(joint.wide), sums)
        return *(total.to(x.dtype) for total, x in zip(sums, inputs, strict=False)), None, None, None, None


class _Joint:
    """The joint network: the inputs of the loss in the types in which they are multiplied and summed."""

    def __init__(self, encoded: Tensor, predicted: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> None:
        self.encoded, self.predicted = encoded, predicted
        self.weight, self.bias = weight.to(encoded.dtype), bias.to(encoded.dtype)
        self.targets = torch.cat([targets, targets.new_zeros(len(targets), 1)], dim=1)  # (B, U + 1); nothing follows the last token
        self.wide = torch.promote_types(encoded.dtype, torch.float32)

    def hidden(self, block: Block) -> Tensor:
        """tanh(e + p) of the cells of a block, (N, J)."""
        states, texts = self.encoded[block.row, block.t0 : block.t1, None], self.predicted[block.row, block.u0 : block.u1]
        return (states + texts).tanh_().flatten(0, 1)

    def logits(self, hidden: Tensor) -> Tensor:
        """The logits (N, V) of hidden states (N, J), in float32 or better."""
        return torch.addmm(self.bias, hidden, self.weight.T).to(self.wide)

    def labels(self, block: Block) -> Tensor:
        """The token that follows each cell of a block, (N, 1)."""
        return self.targets[block.row, block.u0 : block.u1].repeat(block.t1 - block.t0).unsqueeze(1)


def _reduce(joint: _Joint, block: Block, blank: Tensor, label: Tensor, norm: Tensor) -> None:
    """Write the log-probabilities of blank and next token, and the logarithm of the softmax's divisor, into the tables (B, T, U + 1)."""
    logits, area = joint.logits(joint.hidden(block)), (block.row, slice(block.t0, block.t1), slice(block.u0, block.u1))
    of_blank, of_label = logits[:, BLANK].clone(), logits.gather(1, joint.labels(block)).squeeze(1)  # (N,)
    highest = logits.amax(1, keepdim=True)
    divisor = logits.sub_(highest).exp_().sum(1).log_().add_(highest.squeeze(1))  # in place: half the memory of torch.logsumexp
    for table, values in ((blank, of_blank - divisor), (label, of_label - divisor), (norm, divisor)):
        table[area] = values.view(block.t1 - block.t0, block.u1 - block.u0)


def _add_gradients(joint: _Joint, block: Block, shift: Tensor, blank: Tensor, label: Tensor, scale: Tensor, sums: list[Tensor]) -> None:
    """Add the gradients of a block of cells, times `scale` (), to the `sums` of states, predictions, weight and bias.

    shift: log of the cells' probability over the softmax's divisor; blank, label: probabilities of the two ways to leave; each (t, u).
    """
    encoded, predicted, weight, bias = sums
    hidden = joint.hidden(block)  # (N, J)
    of_logits = joint.logits(hidden).add_(shift.reshape(-1, 1)).exp_()  # (N, V) P(t, u) softmax
    of_logits[:, BLANK] -= blank.flatten()
    of_logits.scatter_add_(1, joint.labels(block), -label.reshape(-1, 1))
    bias.add_(of_logits.sum(0) * scale)
    of_logits = of_logits.to(hidden.dtype)
    scaled = hidden * scale.to(hidden.dtype)
    if weight.dtype == hidden.dtype:
        weight.addmm_(of_logits.T, scaled)
    else:
        weight.add_(of_logits.T @ scaled)
    of_hidden = (of_logits @ joint.weight).to(joint.wide)  # (N, J)
    of_sum = torch.addcmul(scale, scaled, hidden, value=-1.0).mul_(of_hidden)  # the derivative of tanh is 1 - tanh ** 2
    of_sum = of_sum.view(block.t1 - block.t0, block.u1 - block.u0, -1)
    encoded[block.row, block.t0 : block.t1] += of_sum.sum(1)
    predicted[block.row, block.u0 : block.u1] += of_sum.sum(0)


def _bands(lattice: Posteriors, frames: list[int], tokens: list[int], dtype: torch.dtype) -> Iterator[list[tuple[int, int]]]:
    """For every utterance the cells of each state that have a gradient: the first u and the one behind the last.

    On a CPU cells at both ends are left out whose probabilities sum to less than half the rounding of `dtype`. Other devices would
    have to be waited for.
    """
    if lattice.log_cell.device.type != "cpu":
        yield from ([(0, width + 1)] * size for size, width in zip(frames, tokens, strict=True))
        return
    cells, least = lattice.log_cell.exp(), torch.finfo(dtype).eps / 2
    before = (cells.cumsum(2) <= least).sum(2)  # (B, T)
    behind = cells.shape[2] - (cells.flip(2).cumsum(2) <= least).sum(2)  # (B, T)
    for size, starts, ends in zip(frames, before.tolist(), behind.tolist(), strict=True):
        yield list(zip(starts[:size], ends[:size], strict=True))


def _blocks(row: int, bands: Sequence[tuple[int, int]], cells: int) -> Iterator[Block]:
    """Blocks of at most `cells` cells that cover the band [start, end) of every state of an utterance."""
    t0 = 0
    while t0 < len(bands):
        (u0, u1), t1 = bands[t0], t0 + 1
        while t1 < len(bands):
            low, high = min(u0, bands[t1][0]), max(u1, bands[t1][1])
            if (t1 + 1 - t0) * (high - low) > cells:
                break
            u0, u1, t1 = low, high, t1 + 1
        for start in range(u0, u1, cells):
            yield Block(row, t0, t1, start, min(u1, start + cells))
        t0 = t1
