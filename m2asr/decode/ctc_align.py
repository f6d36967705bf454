"""The best path of a known text through the states of an utterance (forced alignment) by CTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torchaudio.functional import forced_align

from m2asr.decode.ctc import BLANK

MOST_CELLS = 1 << 31  # states x labels of one alignment; each takes a byte of memory


@dataclass(frozen=True)
class Alignment:
    """The states of the best path that write each token; all remaining states write a blank.

    Token n takes the states from starts[n] up to, but without, ends[n]. `posteriors` are the mean probabilities of the tokens over their
    states; `score` is the mean log-probability of all states of the path, blanks included.
    """

    tokens: list[int]
    starts: list[int]
    ends: list[int]
    posteriors: list[float]
    score: float


def states_needed(tokens: Sequence[int]) -> int:
    """The minimum number of states that a text needs under CTC: one per token and one more between equal neighbours."""
    return len(tokens) + sum(left == right for left, right in pairwise(tokens))


def ctc_align(log_probs: Tensor, lengths: Tensor, texts: Sequence[Sequence[int]]) -> list[Alignment | None]:
    """The most probable path of every text (Graves et al. 2006), found by torchaudio's forced_align.

    log_probs (B, T, V), lengths (B,); `texts` has the token ids of every utterance, without blanks. The result is None for a text that
    needs more states than the utterance has, or more than 2 GB of memory. The path of an empty text is all blanks.
    """
    alignments: list[Alignment | None] = []
    for row, (length, tokens) in enumerate(zip(lengths.tolist(), texts, strict=True)):  # torchaudio takes one utterance at a time
        if length < max(1, states_needed(tokens)) or length * (2 * len(tokens) + 1) > MOST_CELLS:
            alignments.append(None)
            continue
        utt_log_probs = log_probs[row : row + 1, :length]  # (1, T, V)
        if tokens:
            path, scores = forced_align(utt_log_probs, torch.tensor([list(tokens)], device=utt_log_probs.device), blank=BLANK)
        else:
            path, scores = torch.full_like(utt_log_probs[:, :, 0], BLANK, dtype=torch.long), utt_log_probs[:, :, BLANK]
        alignments.append(_spans(path[0].tolist(), scores[0]))
    return alignments


def _spans(path: list[int], scores: Tensor) -> Alignment:
    """The alignment of a path (T,) with scores (T,): its runs of equal labels; CTC separates two equal tokens by a blank."""
    edges = [0, *(t for t in range(1, len(path)) if path[t] != path[t - 1]), len(path)]
    runs = [(start, end) for start, end in pairwise(edges) if path[start] != BLANK]
    posteriors = scores.exp()
    return Alignment(
        tokens=[path[start] for start, _ in runs],
        starts=[start for start, _ in runs],
        ends=[end for _, end in runs],
        posteriors=[float(posteriors[start:end].mean()) for start, end in runs],
        score=float(scores.mean()),
    )
