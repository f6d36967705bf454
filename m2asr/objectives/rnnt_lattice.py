"""Forward and backward probabilities of an RNN transducer's alignments, all utterances of a batch at once.

An alignment of T states and U tokens is a path over the cells (t, u) of a lattice: a blank leads from (t, u) to (t + 1, u), token u + 1
leads to (t, u + 1), and the blank of cell (T - 1, U) ends the path (Graves 2012, section 2.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NEVER = float("-inf")


@dataclass(frozen=True)
class Posteriors:
    """Log-likelihoods (B,) of the targets, and three probabilities of every cell given the target, each (B, T, U + 1).

    log_cell: the logarithm of the probability that an alignment passes the cell, -inf outside the lengths; blank, label: the probability
    that it leaves the cell by a blank or by the next token. All are float64.
    """

    log_likelihood: Tensor
    log_cell: Tensor
    blank: Tensor
    label: Tensor


def log_likelihood(blank: Tensor, label: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """The log-likelihoods (B,) of targets, summed over all alignments (Graves 2012, equations 16 and 17).

    blank, label (B, T, U + 1): log-probabilities of the blank and of the next token in every cell, float64; frames, tokens (B,): numbers
    of states, at least 1, and of tokens. Entries outside the lengths are not read.
    """
    arrivals = _forward_arrivals(blank, label, frames, tokens)
    alpha = _recursion(*arrivals, torch.zeros_like(blank[:, 0, 0]))  # (D, B, U + 1)
    rows = torch.arange(len(frames), device=blank.device)
    return alpha[frames + tokens - 1, rows, tokens] + blank[rows, frames - 1, tokens]


def posteriors(blank: Tensor, label: Tensor, frames: Tensor, tokens: Tensor) -> Posteriors:
    """The log-likelihoods and the probabilities of all cells, from forward and backward variables (equations 16 to 20).

    The backward variables are those of the same recursion on the reversed lattice; both run together. Arguments as in `log_likelihood`.
    """
    (batch, size, width), rows = blank.shape, torch.arange(len(frames), device=blank.device)
    ends = blank[rows, frames - 1, tokens]  # (B,)
    arrivals = zip(_forward_arrivals(blank, label, frames, tokens), _backward_arrivals(blank, label, frames, tokens), strict=True)
    variables = _recursion(*(torch.cat(pair, dim=1) for pair in arrivals), torch.cat([torch.zeros_like(ends), ends]))  # (D, 2 B, U + 1)
    t, u = torch.arange(size, device=blank.device)[:, None], torch.arange(width, device=blank.device)  # (T, 1), (U + 1,)
    valid = (t < frames[:, None, None]) & (u <= tokens[:, None, None])  # (B, T, U + 1)
    alpha = variables[t + u, rows[:, None, None], u]  # (B, T, U + 1)
    back = (tokens[:, None, None] - u).clamp(min=0)  # column in the reversed lattice
    steps = (frames[:, None, None] - 1 - t).clamp(min=0) + back
    beta = variables[steps, batch + rows[:, None, None], back].masked_fill(~valid, NEVER)
    alpha = alpha.masked_fill(~valid, NEVER)
    total = alpha[rows, frames - 1, tokens] + ends
    after_blank, after_label = torch.full_like(beta, NEVER), torch.full_like(beta, NEVER)
    after_blank[:, :-1] = beta[:, 1:]
    after_blank[rows, frames - 1, tokens] = 0.0  # the end of the path
    after_label[..., :-1] = beta[..., 1:]
    scaled = alpha - total[:, None, None]
    by_blank = (scaled + torch.where(valid, blank, NEVER) + after_blank).exp()
    by_label = (scaled + torch.where(valid, label, NEVER) + after_label).exp()
    return Posteriors(total, scaled + beta, by_blank, by_label)


def _recursion(down: Tensor, right: Tensor, start: Tensor) -> Tensor:
    """Variables (D, R, U + 1) of all cells by diagonals d = t + u: the logarithm of the sum over both arrivals at a cell.

    down, right (D, R, U + 1): log-probabilities of the arrival from the state before and from the token before; start (R,): the variable
    of cell (0, 0).
    """
    diagonals, rows, width = down.shape
    cells = down.new_full((diagonals, rows, width + 1), NEVER)  # one more column before the first, so that a shift is a view
    cells[0, :, 1] = start
    for d in range(1, diagonals):
        torch.logaddexp(cells[d - 1, :, 1:] + down[d], cells[d - 1, :, :-1] + right[d], out=cells[d, :, 1:])
    return cells[:, :, 1:]


def _forward_arrivals(blank: Tensor, label: Tensor, frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Arrivals (D, B, U + 1) of the forward recursion: the blank of cell (t - 1, u) and the token of cell (t, u - 1)."""
    d, u = _diagonals(blank)
    t, last, most = d - u, frames[:, None] - 1, tokens[:, None]
    down = _at(blank, t - 1, u, (t >= 1) & (t <= last) & (u <= most))
    return down, _at(label, t, u - 1, (t >= 0) & (t <= last) & (u >= 1) & (u <= most))


def _backward_arrivals(blank: Tensor, label: Tensor, frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The same on the lattice read from its last cell: the blank and the token of cell (t, u) itself, which lead to cells behind it."""
    d, back = _diagonals(blank)
    last, most = frames[:, None] - 1, tokens[:, None]
    t, u = last - (d - back), most - back  # (D, B, U + 1)
    inside = (t >= 0) & (t <= last) & (u >= 0)
    return _at(blank, t, u, inside & (t < last)), _at(label, t, u, inside & (u < most))


def _diagonals(table: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of the diagonals (D, 1, 1) and of the columns (U + 1,) of a table (B, T, U + 1)."""
    _, size, width = table.shape
    return torch.arange(size + width - 1, device=table.device)[:, None, None], torch.arange(width, device=table.device)


def _at(table: Tensor, t: Tensor, u: Tensor, inside: Tensor) -> Tensor:
    """Entries (D, B, U + 1) of a table (B, T, U + 1) at t and u where `inside`, -inf elsewhere."""
    batch, size, width = table.shape
    cells = (t.clamp(0, size - 1) * width + u.clamp(0, width - 1)).expand(-1, batch, -1)
    rows = torch.arange(batch, device=table.device)[:, None] * (size * width)
    return torch.where(inside, table.reshape(-1)[cells + rows], NEVER)
