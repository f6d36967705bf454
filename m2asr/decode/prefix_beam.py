"""CTC prefix beam search over a batch, with or without text models."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from m2asr.decode.fusion import Fusion, States
from m2asr.decode.hypothesis import Hypothesis

BLANK = 0
HASH_FACTOR = 6364136223846793005  # a prefix is recognized by a 64-bit rolling hash: equal prefixes have equal hashes
NEVER = float("-inf")


def prefix_beam(
    log_probs: Tensor, lengths: Tensor, beam: int, token_prune: int, fusion: Fusion | None = None, least: Tensor | None = None
) -> list[list[Hypothesis]]:
    """The `beam` best prefixes of every utterance, best first (Hannun et al. 2014); log_probs (B, T, V), lengths (B,).

    The probability of a prefix is the sum over all its alignments. At each state only the `token_prune` most probable tokens extend a
    prefix. `fusion` adds its scores whenever a prefix grows, and at the end of the text. The end is the last token; with fusion it is
    never written. Prefixes that cannot come to the `least` (B,) numbers of tokens, one at each state that is left, are dropped. If the
    beam and token_prune hold everything, the scores are exact.
    """
    fusion = fusion or None  # a fusion that changes no score is skipped
    vocab = log_probs.shape[2]
    probs = _blanks_after_end(log_probs, lengths)  # (B, T, V + 1): the last column is that of no token
    values, tokens = _extensions(probs[:, :, 1 : vocab - 1 if fusion else vocab], token_prune)  # (B, T, K), (B, T, K + 1)
    candidates = _Candidates(len(log_probs), beam, values.shape[2], log_probs.device)
    prefixes = _empty_prefixes(candidates.vacant, vocab, fusion)
    steps: list[tuple[Tensor, Tensor]] = []  # per state: the prefix that each prefix comes from, the token it adds or -1
    missing = _Missing(least, lengths, candidates) if least is not None and bool((least > 0).any()) else None
    for step_probs, step_values, step_tokens in zip(probs.unbind(1), values.unbind(1), tokens.unbind(1), strict=True):
        _score_candidates(candidates, prefixes, step_probs, step_values, step_tokens)
        if missing is not None:
            missing.drop()
        prefixes, source, grows = _select(candidates, prefixes, step_tokens, vocab, fusion)
        steps.append((source, grows))
        if missing is not None:
            missing.advance(source, grows)
    text = prefixes.text + fusion.ends(prefixes.states) if fusion else prefixes.text
    return _trace(torch.logaddexp(prefixes.blank, prefixes.token), text, steps)


class _Prefixes(NamedTuple):
    """The W prefixes of each of B utterances that the search holds; every tensor is (B, W)."""

    blank: Tensor  # log-probability of the paths that end in a blank
    token: Tensor  # ... in the last token of the prefix
    text: Tensor  # score that fusion has added
    hashes: Tensor
    parents: Tensor  # hash of the prefix without its last token
    last: Tensor  # last token
    states: States  # states of the text models


class _Candidates:
    """The prefixes that one step selects from: W prefixes that stay as they are, then W K that grow by one of K tokens.

    Which prefix and which token a candidate has is the same in all steps. The log-probabilities are filled in anew at every step, through
    views of those that stay (B, W) and of those that grow (B, W, K).
    """

    def __init__(self, batch: int, beam: int, tokens: int, device: torch.device) -> None:
        self.beam, self.tokens, self.size = beam, tokens, beam + beam * tokens
        number = torch.arange(self.size, device=device)
        self.source = torch.where(number < beam, number, (number - beam) // tokens)  # (W + W K,) the prefix that it comes from
        self.column = torch.where(number < beam, tokens, (number - beam) % tokens)  # (W + W K,) the token that it adds; K: none
        self.ends_blank = torch.full((batch, self.size), NEVER, dtype=torch.float64, device=device)  # paths that end in a blank
        self.ends_token = torch.full((batch, self.size + 1), NEVER, dtype=torch.float64, device=device)  # ... in the last token
        self.total = torch.full_like(self.ends_blank, NEVER)  # both together
        self.fused = torch.zeros_like(self.ends_blank)  # score that fusion adds
        self.stay_blank, self.stay_token, self.stay_total, self.stay_fused = (
            values[:, :beam] for values in (self.ends_blank, self.ends_token, self.total, self.fused)
        )
        self.grow_token, self.grow_total, self.grow_fused = (
            values[:, beam : self.size].view(batch, beam, tokens) for values in (self.ends_token, self.total, self.fused)
        )
        self.vacant = torch.arange(-1, -beam - 1, -1, device=device).repeat(batch, 1)  # (B, W) hashes where there is no prefix


class _Missing:
    """The numbers of tokens (B, W) that prefixes lack; drops candidates that have more of them to write than states are left."""

    def __init__(self, least: Tensor, lengths: Tensor, candidates: _Candidates) -> None:
        self.candidates, self.left = candidates, lengths[:, None].clone()  # (B, 1) states
        self.tokens = torch.minimum(least, lengths)[:, None].repeat(1, candidates.beam)  # (B, W)

    def drop(self) -> None:
        """Make candidates impossible that come out too short."""
        self.left = (self.left - 1).clamp(min=0)
        grown = (self.candidates.column < self.candidates.tokens).long()  # (W + W K,)
        short = self.tokens[:, self.candidates.source] - grown > self.left  # (B, W + W K)
        for values in (self.candidates.total, self.candidates.ends_blank, self.candidates.ends_token[:, : self.candidates.size]):
            values.masked_fill_(short, NEVER)

    def advance(self, source: Tensor, grows: Tensor) -> None:
        """Count the tokens of the prefixes that were chosen."""
        self.tokens = self.tokens.gather(1, source) - (grows >= 0).long()


def _extensions(probs: Tensor, token_prune: int) -> tuple[Tensor, Tensor]:
    """The K most probable tokens of every state, from probs (B, T, V') of the tokens from 1 on.

    Returns their log-probabilities (B, T, K) and the tokens (B, T, K + 1); the last column, -1, stands for no token.
    """
    values, tokens = probs.topk(min(token_prune, probs.shape[2]), dim=2)
    return values, F.pad(tokens + 1, (0, 1), value=-1)


def _empty_prefixes(vacant: Tensor, vocab: int, fusion: Fusion | None) -> _Prefixes:
    """The prefixes before the first state: the empty one, then vacant ones with the hashes `vacant` (B, W)."""
    batch, beam = vacant.shape
    never = torch.full((batch, beam), NEVER, dtype=torch.float64, device=vacant.device)
    blank, hashes = never.clone(), vacant.clone()
    blank[:, 0], hashes[:, 0] = 0.0, 0
    return _Prefixes(
        blank,
        token=never,
        text=torch.zeros_like(blank),
        hashes=hashes,
        parents=torch.zeros_like(hashes),
        last=torch.full_like(hashes, vocab),
        states=fusion.start(batch, beam, vacant.device) if fusion else [],
    )


def _score_candidates(candidates: _Candidates, prefixes: _Prefixes, probs: Tensor, values: Tensor, tokens: Tensor) -> None:
    """Fill in the log-probabilities of all candidates after a state with probs (B, V + 1) and K extensions."""
    blank, token, _, hashes, parents, last, _ = prefixes
    both = torch.logaddexp(blank, token)
    torch.add(both, probs[:, :1], out=candidates.stay_blank)
    stays = token + probs.gather(1, last)
    repeats = tokens[:, None, :-1] == last[:, :, None]  # (B, W, K): a repeat needs a blank before it
    torch.add(torch.where(repeats, blank[:, :, None], both[:, :, None]), values[:, None, :], out=candidates.grow_token)
    # an extension that equals another prefix of the beam adds its probability to that prefix
    has_parent, parent = (hashes[:, None, :] == parents[:, :, None]).max(2)  # (B, W): where a prefix grows from ...
    has_token, rank = repeats.max(2)  # ... and by which token
    twin = torch.where(has_parent & has_token, parent * candidates.tokens + rank + candidates.beam, candidates.size)
    torch.logaddexp(stays, candidates.ends_token.gather(1, twin), out=candidates.stay_token)  # the last column is always NEVER
    candidates.ends_token.scatter_(1, twin, NEVER)
    candidates.grow_total.copy_(candidates.grow_token)
    torch.logaddexp(candidates.stay_blank, candidates.stay_token, out=candidates.stay_total)


def _select(
    candidates: _Candidates, prefixes: _Prefixes, tokens: Tensor, vocab: int, fusion: Fusion | None
) -> tuple[_Prefixes, Tensor, Tensor]:
    """The W best candidates as prefixes; for each the old prefix that it comes from and the token it adds, -1 for none, (B, W) both."""
    _, _, text, hashes, parents, last, states = prefixes
    if fusion:
        candidates.stay_fused.copy_(text)
        candidates.grow_fused.copy_(text[:, :, None] + fusion.gains(states, tokens[:, :-1]))
        scores, selected = (candidates.total + candidates.fused).topk(candidates.beam, dim=1)
        text = candidates.fused.gather(1, selected)
    else:
        scores, selected = candidates.total.topk(candidates.beam, dim=1)
    source, grows = candidates.source[selected], tokens.gather(1, candidates.column[selected])
    stays = grows < 0
    source_hash = hashes.gather(1, source)
    hashes = torch.where(stays, source_hash, source_hash * HASH_FACTOR + grows + 1)
    impossible = scores == NEVER  # a beam wider than the number of prefixes must not hold impossible copies of them
    best = _Prefixes(
        candidates.ends_blank.gather(1, selected),
        candidates.ends_token.gather(1, selected),
        text,
        torch.where(impossible, candidates.vacant, hashes),
        torch.where(stays, parents.gather(1, source), source_hash),
        torch.where(stays, last.gather(1, source), grows).masked_fill(impossible, vocab),
        fusion.advance(states, source, grows) if fusion else [],
    )
    return best, source, grows


def _blanks_after_end(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Log-probabilities (B, T, V + 1), float64. After the end of an utterance only blanks follow; they change no score."""
    batch, frames, vocab = log_probs.shape
    probs = torch.full((batch, frames, vocab + 1), NEVER, dtype=torch.float64, device=log_probs.device)
    probs[:, :, :vocab] = log_probs
    ended = torch.arange(frames, device=lengths.device) >= lengths[:, None]  # (B, T)
    probs.masked_fill_(ended[:, :, None], NEVER)
    probs[:, :, BLANK].masked_fill_(ended, 0.0)
    return probs


def _trace(log_probs: Tensor, text: Tensor, steps: list[tuple[Tensor, Tensor]]) -> list[list[Hypothesis]]:
    """Follow every prefix back to its beginning; `log_probs` (B, W) are those of the prefixes, `text` (B, W) is what fusion adds."""
    batch, beam = log_probs.shape
    rank = torch.arange(beam, device=log_probs.device).repeat(batch, 1)  # (B, W)
    backwards = []
    for source, added in reversed(steps):
        backwards.append(added.gather(1, rank))
        rank = source.gather(1, rank)
    paths = torch.stack(backwards[::-1], dim=2) if backwards else torch.full((batch, beam, 0), -1)  # (B, W, T)
    results = []
    for utterance in zip(paths.tolist(), (log_probs + text).tolist(), text.tolist(), strict=True):
        hypotheses = [
            Hypothesis([token for token in path if token >= 0], score, text_score)
            for path, score, text_score in zip(*utterance, strict=True)
            if score > NEVER
        ]
        results.append(sorted(hypotheses, key=lambda hypothesis: -hypothesis.score))
    return results
