"""CTC as a scorer of prefixes, for joint search with a decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0
NEVER = float("-inf")
LEAST = -1.0e5  # lower log-probabilities are raised to this, so that differences of cumulative sums stay finite


class CTCPrefix:
    """Log-probability that the labels of an utterance begin with a prefix (Watanabe et al. 2017, algorithm 2).

    For a prefix h and t frames, r^n_t(h) and r^b_t(h) are the probabilities of all paths over these frames that read h and end in its last
    token or in a blank. The algorithm's recursions over t are written as sums, so a step costs a matrix product and a few scans.
    log_probs (B, T, V), lengths (B,).
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor, beam: int, eos: int) -> None:
        self.log_probs = log_probs.double().clamp(min=LEAST)
        self.lengths, self.eos = lengths, eos
        batch, frames, _ = log_probs.shape
        self.probs = self.log_probs.exp()
        self.padding = (torch.arange(frames, device=lengths.device) >= lengths[:, None])[:, None]  # (B, 1, T)
        self.blanks = _cumulate(self.log_probs[:, None, :, BLANK])  # (B, 1, T + 1)
        self.ends_blank = self.blanks.repeat(1, beam, 1)  # r^b (B, W, T + 1), from 0 frames on
        self.ends_token = torch.full_like(self.ends_blank, NEVER)  # r^n
        self.last: Tensor | None = None  # (B, W)

    def scores(self) -> Tensor:
        """Log-probabilities (B, W, V) of every prefix extended by every token; at eos, of the prefix as the complete text."""
        total = torch.logaddexp(self.ends_blank, self.ends_token)
        extended = self._begin(total[:, :, :-1])  # (B, W, V)
        if self.last is not None:  # a token that repeats the last one needs a blank before it
            repeated = self.ends_blank[:, :, :-1].masked_fill(self.padding, NEVER) + self._token_log_probs(self.last)
            extended.scatter_(2, self.last[:, :, None], repeated.logsumexp(2, keepdim=True))
        extended[:, :, self.eos] = total.gather(2, self.lengths[:, None, None].expand(-1, total.shape[1], 1)).squeeze(2)
        return extended

    def advance(self, source: Tensor, token: Tensor) -> None:
        index = source[:, :, None].expand_as(self.ends_blank)
        ends_blank, ends_token = self.ends_blank.gather(1, index), self.ends_token.gather(1, index)
        before = torch.logaddexp(ends_blank, ends_token)  # phi: the paths that the new token may follow
        if self.last is not None:
            repeats = (self.last.gather(1, source) == token)[:, :, None]
            before = torch.where(repeats, ends_blank, before)
        self.ends_token = _enter(before, _cumulate(self._token_log_probs(token)))
        self.ends_blank = _enter(self.ends_token, self.blanks)
        self.last = token

    def keep(self, utts: Tensor) -> None:
        for name in ("log_probs", "lengths", "probs", "padding", "blanks", "ends_blank", "ends_token", "last"):
            setattr(self, name, getattr(self, name)[utts])

    def _begin(self, before: Tensor) -> Tensor:
        """log sum_t exp(before_t) p_t(c) for every token c: (B, W, T) to (B, W, V), as a matrix product."""
        before = before.masked_fill(self.padding, NEVER)
        maximum = before.amax(2, keepdim=True).nan_to_num(neginf=0.0)  # without any path exp(-inf - 0) stays 0
        return ((before - maximum).exp() @ self.probs).log() + maximum

    def _token_log_probs(self, token: Tensor) -> Tensor:
        """Log-probabilities (B, W, T) of one token per prefix."""
        index = token[:, None, :].expand(-1, self.log_probs.shape[1], -1)
        return self.log_probs.gather(2, index).transpose(1, 2)


def _cumulate(x: Tensor) -> Tensor:
    """Sums over the first t frames, from t = 0 on: (..., T) to (..., T + 1)."""
    return F.pad(x.cumsum(-1), (1, 0))


def _enter(before: Tensor, stay: Tensor) -> Tensor:
    """Log-probabilities (B, W, T + 1) of paths that leave `before` at an earlier frame and then stay in one label.

    `stay` is the cumulated log-probability of that label. This is the solution of r_t = (r_{t-1} + before_{t-1}) p_t with r_0 = 0.
    """
    entered = (before - stay)[:, :, :-1].logcumsumexp(2)
    return F.pad(entered, (1, 0), value=NEVER) + stay
