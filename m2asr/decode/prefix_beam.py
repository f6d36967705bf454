"""CTC prefix beam search over a batch, with or without text models."""

from __future__ import annotations

import torch
from torch import Tensor

from m2asr.decode.fusion import Fusion
from m2asr.decode.hypothesis import Hypothesis

BLANK = 0
HASH_FACTOR = 6364136223846793005  # a prefix is known by a 64-bit rolling hash: equal prefixes have equal hashes
NEVER = float("-inf")


def prefix_beam(
    log_probs: Tensor, lengths: Tensor, beam: int, token_prune: int, fusion: Fusion | None = None
) -> list[list[Hypothesis]]:
    """The `beam` best prefixes of every utterance, best first (Hannun et al. 2014); log_probs (B, T, V), lengths (B,).

    Sums over all alignments of a prefix; per state only the `token_prune` most probable tokens extend a prefix. `fusion` adds its scores
    whenever a prefix grows, and at the end, which is the last token: it is no part of a text then. With a beam and a token_prune that hold
    everything, the scores are exact.
    """
    fusion = fusion or None  # one that changes no score is none
    batch, frames, vocab = log_probs.shape
    written = vocab - 1 if fusion else vocab  # tokens that a text may hold, and the blank
    device, pruned = log_probs.device, min(token_prune, written - 1)
    probs = _ended(log_probs, lengths)  # (B, T, V + 1): the last column is that of no token
    values, tokens = probs[:, :, 1:written].topk(pruned, dim=2)  # (B, T, K)
    tokens = torch.cat([tokens + 1, torch.full((batch, frames, 1), -1, device=device)], dim=2)  # (B, T, K + 1): the last one: none

    # Candidates of a step are W prefixes that stay and W K that grow; what a candidate comes from is known beforehand.
    size = beam + beam * pruned
    candidate = torch.arange(size, device=device)
    came_from = torch.where(candidate < beam, candidate, (candidate - beam) // pruned)
    column = torch.where(candidate < beam, pruned, (candidate - beam) % pruned)
    ends_blank = torch.full((batch, size), NEVER, dtype=torch.float64, device=device)  # paths of a candidate that end in a blank
    ends_token = torch.full((batch, size + 1), NEVER, dtype=torch.float64, device=device)  # ... in its last token; one never chosen
    total = torch.full_like(ends_blank, NEVER)
    fused = torch.zeros_like(ends_blank)  # what fusion gives to a candidate

    blank = torch.full((batch, beam), NEVER, dtype=torch.float64, device=device)  # (B, W), of the prefixes
    token = blank.clone()
    blank[:, 0] = 0.0
    text = torch.zeros_like(blank)
    vacant = torch.arange(-1, -beam - 1, -1, device=device).repeat(batch, 1)  # (B, W) hashes of places that hold no prefix
    hashes = vacant.clone()
    hashes[:, 0] = 0  # the empty prefix
    parents = torch.zeros_like(hashes)  # hash of each prefix without its last token
    last = torch.full_like(hashes, vocab)  # last token of each prefix
    states = fusion.start(batch, beam, device) if fusion else []
    steps: list[tuple[Tensor, Tensor]] = []  # per state: the prefix that each one comes from, the token it adds or -1
    for now, value, added in zip(probs.unbind(1), values.unbind(1), tokens.unbind(1), strict=True):
        both = torch.logaddexp(blank, token)
        torch.add(both, now[:, :1], out=ends_blank[:, :beam])
        stay = token + now.gather(1, last)
        same = added[:, None, :-1] == last[:, :, None]  # (B, W, K): a repeat needs a blank before it
        grown = torch.where(same, blank[:, :, None], both[:, :, None]) + value[:, None, :]
        ends_token[:, beam:size] = grown.view(batch, -1)
        # a grown prefix that already stands in the beam gives it its probability
        known, parent = (hashes[:, None, :] == parents[:, :, None]).max(2)  # (B, W): where each prefix grows from ...
        reached, rank = same.max(2)  # ... and by which token
        twin = torch.where(known & reached, parent * pruned + rank + beam, size)
        torch.logaddexp(stay, ends_token.gather(1, twin), out=ends_token[:, :beam])
        ends_token.scatter_(1, twin, NEVER)
        total[:, beam:] = ends_token[:, beam:size]
        torch.logaddexp(ends_blank[:, :beam], ends_token[:, :beam], out=total[:, :beam])
        if fusion:
            fused[:, :beam] = text
            fused[:, beam:].view(batch, beam, -1)[:] = text[:, :, None] + fusion.gains(states, added[:, :-1])
            scores, chosen = (total + fused).topk(beam, dim=1)
            text = fused.gather(1, chosen)
        else:
            scores, chosen = total.topk(beam, dim=1)

        source, grows = came_from[chosen], added.gather(1, column[chosen])
        stays = grows < 0
        source_hash = hashes.gather(1, source)
        hashes = torch.where(stays, source_hash, source_hash * HASH_FACTOR + grows + 1)
        parents = torch.where(stays, parents.gather(1, source), source_hash)
        last = torch.where(stays, last.gather(1, source), grows)
        blank, token = ends_blank.gather(1, chosen), ends_token.gather(1, chosen)
        # a beam wider than the number of prefixes must not hold impossible copies of them
        impossible = scores == NEVER
        hashes, last = torch.where(impossible, vacant, hashes), last.masked_fill(impossible, vocab)
        if fusion:
            states = fusion.advance(states, source, grows)
        steps.append((source, grows))
    if fusion:
        text = text + fusion.ends(states)
    return _trace(torch.logaddexp(blank, token), text, steps)


def _ended(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Log-probabilities (B, T, V + 1), float64: after the end of an utterance only blanks follow, which change nothing."""
    batch, frames, vocab = log_probs.shape
    probs = torch.full((batch, frames, vocab + 1), NEVER, dtype=torch.float64, device=log_probs.device)
    probs[:, :, :vocab] = log_probs
    ended = torch.arange(frames, device=lengths.device) >= lengths[:, None]  # (B, T)
    probs.masked_fill_(ended[:, :, None], NEVER)
    probs[:, :, BLANK].masked_fill_(ended, 0.0)
    return probs


def _trace(log_probs: Tensor, text: Tensor, steps: list[tuple[Tensor, Tensor]]) -> list[list[Hypothesis]]:
    """Follow every prefix back to its beginning; its log-probability (B, W) and what text models add to it (B, W)."""
    batch, beam = log_probs.shape
    place = torch.arange(beam, device=log_probs.device).repeat(batch, 1)
    backwards = []
    for source, added in reversed(steps):
        backwards.append(added.gather(1, place))
        place = source.gather(1, place)
    path = torch.stack(backwards[::-1], dim=2) if backwards else torch.full((batch, beam, 0), -1)  # (B, W, T)
    hypotheses = []
    for paths, scores, texts in zip(path.tolist(), (log_probs + text).tolist(), text.tolist(), strict=True):
        rows = zip(paths, scores, texts, strict=True)
        kept = [Hypothesis([token for token in row if token >= 0], score, added) for row, score, added in rows if score > NEVER]
        hypotheses.append(sorted(kept, key=lambda hypothesis: -hypothesis.score))
    return hypotheses
