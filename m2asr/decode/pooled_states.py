"""Reads speech with a trained run: the states at a tap of its encoder, averaged over neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from m2asr.config import check_exists
from m2asr.decode.encode import encode
from m2asr.decode.marks import StateTimes
from m2asr.train.initialize import load_trained, trained_fbank


class PooledStates:
    """The states of utterances at a tap of a run, every `pool` neighbours averaged.

    Raises UserError if there is no such run or tap.
    """

    def __init__(self, exp: Path, tap: str, pool: int, device: str = "cpu") -> None:
        self.exp, self.tap, self.pool = exp, tap, pool
        _, self.system, _ = load_trained(exp, device)
        encoder = self.system.encoder
        check_exists(tap, [name for name in encoder.taps if name not in encoder.router_taps], "--tap")
        self.run = weights_digest(self.system.state_dict())
        times = StateTimes.of(trained_fbank(exp))
        self.first, self.seconds = times.first, times.step * pool  # where the first one begins, and from one to the next

    def __call__(self, feats: Sequence[np.ndarray], langs: Sequence[str]) -> list[Tensor]:
        """Averaged states (N_b, D) of every utterance b from features (T_b, F), which are encoded as one batch."""
        encoded = encode(self.system, feats, langs, [self.tap])
        pooled, lengths = pool_states(encoded.states[self.tap], encoded.lengths, self.pool)
        return [states[:length] for states, length in zip(pooled, lengths.tolist(), strict=True)]

    def middles(self, count: int) -> np.ndarray:
        """The times in seconds of the middles of an utterance's first `count` averaged states, (count,)."""
        return self.first + self.seconds * (np.arange(count) + 0.5)


def pool_states(states: Tensor, lengths: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """The means of every `pool` neighbours: states (B, T, D) with lengths (B,) to (B, ceil(T / pool), D) and lengths (B,).

    The last mean of an utterance is over as many valid states as are left.
    """
    states = F.pad(states, (0, 0, 0, -states.shape[1] % pool))
    valid = (torch.arange(states.shape[1], device=states.device) < lengths[:, None]).unsqueeze(-1)  # (B, T, 1)
    sums = states.masked_fill(~valid, 0.0).unflatten(1, (-1, pool)).sum(2)  # (B, N, D)
    counts = valid.unflatten(1, (-1, pool)).sum(2)  # (B, N, 1)
    return sums / counts.clamp(min=1), -(-lengths // pool)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Identifies a run by its weights, with their names."""
    digest = hashlib.blake2b(digest_size=12)
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
