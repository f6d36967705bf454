"""Beam search that writes token by token, over whatever scores prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from m2asr.decode.hypothesis import Hypothesis

BLANK = 0
NEVER = float("-inf")


class PrefixScorer(Protocol):
    """Scores W prefixes of each of B utterances; before the first `advance` all of them are empty."""

    def scores(self) -> Tensor:
        """Log-probabilities (B, W, V), float64, of every prefix with every token added; that of eos is of the finished text."""

    def advance(self, source: Tensor, token: Tensor) -> None:
        """Go on with prefix source[b, w] and token[b, w] added to it, as place w (B, W)."""


def beam_search(
    scorers: Sequence[tuple[float, PrefixScorer]],
    limits: Tensor,
    eos: int,
    beam: int,
    length_penalty: float = 0.0,
    most_gain: float = 0.0,
) -> list[list[Hypothesis]]:
    """Texts of every utterance, best first, under the weighted sum of scores over (tokens + 1) ** length_penalty.

    Per step the `beam` best of all prefixes with one more token or the end are kept. `limits` (B,) are the most tokens; a prefix of
    that length can only end. The search ends where no prefix can become better than the best text found: scores fall, or rise by at most
    `most_gain` per token, where there is a bonus.
    What an utterance gets does not depend on the others in the batch.
    """
    batch, device = len(limits), limits.device
    vacant = torch.full((batch, beam), NEVER, dtype=torch.float64, device=device)  # 0 where a place holds a prefix
    vacant[:, 0] = 0.0
    tokens = torch.zeros(batch, beam, 0, dtype=torch.long, device=device)
    ended: list[list[Hypothesis]] = [[] for _ in range(batch)]
    record = torch.full((batch,), NEVER, dtype=torch.float64, device=device)  # the best text so far
    for length in range(int(limits.max()) + 1):
        total = sum(weight * scorer.scores() for weight, scorer in scorers) + vacant[:, :, None]  # (B, W, V)
        total[:, :, BLANK] = NEVER
        total[:, :, :eos].masked_fill_((limits <= length)[:, None, None], NEVER)
        best, chosen = total.flatten(1).topk(beam, dim=1)  # (B, W)
        source, token = chosen // total.shape[2], chosen % total.shape[2]
        tokens = torch.cat([tokens.gather(1, source[:, :, None].expand(-1, -1, length)), token[:, :, None]], dim=2)
        ends = (token == eos) & (best > NEVER)
        final = best / (length + 1) ** length_penalty
        for row, text, score in zip(ends.nonzero()[:, 0].tolist(), tokens[ends].tolist(), final[ends].tolist(), strict=True):
            ended[row].append(Hypothesis(text[:-1], score))
        record = torch.maximum(record, final.masked_fill(~ends, NEVER).amax(1))
        running = best.masked_fill(token == eos, NEVER)
        ceiling = running.amax(1) + most_gain * (limits - length - 1).clamp(min=0)
        ceiling = ceiling / torch.where(ceiling > 0, length + 2, limits + 1) ** length_penalty
        running = running.masked_fill((ceiling <= record)[:, None], NEVER)
        vacant = running.masked_fill(running > NEVER, 0.0)
        if not bool((vacant == 0).any()):
            break
        for _, scorer in scorers:
            scorer.advance(source, token)
    return [sorted(found, key=lambda one: -one.score) for found in ended]
