"""Beam search token by token, with any scorers of prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from m2asr.decode.hypothesis import Hypothesis

BLANK = 0
NEVER = float("-inf")


class PrefixScorer(Protocol):
    """Scores W prefixes of each of B utterances; all prefixes are empty before the first `advance`."""

    def scores(self) -> Tensor:
        """Log-probabilities (B, W, V), float64, of every prefix extended by every token; with eos, that of the finished text."""

    def advance(self, source: Tensor, token: Tensor) -> None:
        """Replace prefix w of utterance b by its prefix source[b, w] extended by token[b, w]; both (B, W)."""

    def keep(self, utts: Tensor) -> None:
        """Go on with some of the B utterances: `utts` are their indices."""


def beam_search(
    scorers: Sequence[tuple[float, PrefixScorer]],
    limits: Tensor,
    eos: int,
    beam: int,
    length_penalty: float = 0.0,
    most_gain: float = 0.0,
    least: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """The texts of every utterance, the best first.

    `scorers` are pairs of a factor and a scorer. The score of a text is the sum of factor * score, over (tokens + 1) ** length_penalty.
    Every step keeps the `beam` best of all prefixes extended by a token or by the end. `limits` (B,) are the maximum numbers of tokens; a
    prefix of that length can only end. `least` (B,) are the minimum numbers, as far as `limits` allow them; a shorter prefix cannot end.
    A token adds at most `most_gain` to a score, above 0 with a bonus. The search of an utterance ends when no prefix can become better
    than its best text; as soon as half of the utterances have ended, the others go on alone. The result of an utterance does not depend on
    the rest of the batch.
    """
    batch, device = len(limits), limits.device
    vacant = torch.full((batch, beam), NEVER, dtype=torch.float64, device=device)  # 0 where there is a prefix
    vacant[:, 0] = 0.0
    tokens = torch.zeros(batch, beam, 0, dtype=torch.long, device=device)
    ended: list[list[Hypothesis]] = [[] for _ in range(batch)]
    utts = torch.arange(batch, device=device)  # those that the search still goes on with
    best_ended = torch.full((batch,), NEVER, dtype=torch.float64, device=device)  # score of the best text so far
    least = torch.zeros_like(limits) if least is None else torch.minimum(least, limits)
    for length in range(int(limits.max()) + 1):
        total = sum(factor * scorer.scores() for factor, scorer in scorers) + vacant[:, :, None]  # (B, W, V)
        total[:, :, BLANK] = NEVER
        total[:, :, eos].masked_fill_((length < least)[:, None], NEVER)
        total[:, :, :eos].masked_fill_((limits <= length)[:, None, None], NEVER)
        best, chosen = total.flatten(1).topk(beam, dim=1)  # (B, W)
        source, token = chosen // total.shape[2], chosen % total.shape[2]
        tokens = torch.cat([tokens.gather(1, source[:, :, None].expand(-1, -1, length)), token[:, :, None]], dim=2)
        ends = (token == eos) & (best > NEVER)
        final = best / (length + 1) ** length_penalty
        for utt, text, score in zip(utts[ends.nonzero()[:, 0]].tolist(), tokens[ends].tolist(), final[ends].tolist(), strict=True):
            ended[utt].append(Hypothesis(text[:-1], score))
        best_ended = torch.maximum(best_ended, final.masked_fill(~ends, NEVER).amax(1))
        running = best.masked_fill(token == eos, NEVER)
        ceiling = running.amax(1) + most_gain * (limits - length - 1).clamp(min=0)
        ceiling = ceiling / torch.where(ceiling > 0, length + 2, limits + 1) ** length_penalty
        running = running.masked_fill((ceiling <= best_ended)[:, None], NEVER)
        vacant = running.masked_fill(running > NEVER, 0.0)
        active = (vacant == 0).any(1).nonzero().squeeze(1)
        if len(active) == 0:
            break
        for _, scorer in scorers:
            scorer.advance(source, token)
        if 2 * len(active) <= len(utts):
            for _, scorer in scorers:
                scorer.keep(active)
            kept = (utts, limits, least, tokens, vacant, best_ended)
            utts, limits, least, tokens, vacant, best_ended = (rows[active] for rows in kept)
    return [sorted(hypotheses, key=lambda hypothesis: -hypothesis.score) for hypotheses in ended]
