"""CTC search over a batch: greedy, and prefix beam search."""

from __future__ import annotations

import torch
from torch import Tensor

from m2asr.decode.hypothesis import Hypothesis

BLANK = 0
HASH_FACTOR = 6364136223846793005  # a prefix is known by a 64-bit rolling hash: equal prefixes have equal hashes
NEVER = float("-inf")


def greedy(log_probs: Tensor, lengths: Tensor) -> list[Hypothesis]:
    """The most probable label of every state, repeats merged and blanks dropped; log-probabilities (B, T, V), lengths (B,)."""
    scores, best = log_probs.max(-1)  # (B, T)
    valid = torch.arange(best.shape[1], device=best.device) < lengths[:, None]
    first = torch.ones_like(valid)
    first[:, 1:] = best[:, 1:] != best[:, :-1]
    keep = (valid & first & (best != BLANK)).cpu()
    totals = (scores * valid).sum(1).tolist()
    best = best.cpu()
    return [Hypothesis(row[kept].tolist(), total) for row, kept, total in zip(best, keep, totals, strict=True)]


def prefix_beam(log_probs: Tensor, lengths: Tensor, beam: int, token_prune: int) -> list[list[Hypothesis]]:
    """The `beam` most probable prefixes of every utterance, best first (Hannun et al. 2014, without a language model).

    Sums over all alignments of a prefix; per state only the `token_prune` most probable tokens extend a prefix. log_probs (B, T, V),
    lengths (B,). With a beam and a token_prune that hold everything, the scores are exact.
    """
    batch, frames, vocab = log_probs.shape
    log_probs = log_probs.double()
    device, pruned = log_probs.device, min(token_prune, vocab - 1)
    ends_blank = torch.full((batch, beam), NEVER, dtype=torch.float64, device=device)  # paths of a prefix that end in a blank
    ends_token = torch.full_like(ends_blank, NEVER)  # ... in its last token
    ends_blank[:, 0] = 0.0
    vacant = torch.arange(-1, -beam - 1, -1, device=device).repeat(batch, 1)  # (B, W) hashes of places that hold no prefix
    hashes = vacant.clone()
    hashes[:, 0] = 0  # the empty prefix
    parents = torch.zeros_like(hashes)  # hash of each prefix without its last token
    last = torch.full_like(hashes, -1)  # last token of each prefix, -1 of none
    steps: list[tuple[Tensor, Tensor]] = []  # per state: the place each prefix comes from, the token it adds or -1
    places = torch.arange(beam, device=device).repeat(batch, 1)
    for t in range(frames):
        now = log_probs[:, t]  # (B, V)
        total = torch.logaddexp(ends_blank, ends_token)  # (B, W)
        stay_blank = total + now[:, BLANK, None]
        repeat = now.gather(1, last.clamp(min=0)).masked_fill(last < 0, NEVER)
        stay_token = ends_token + repeat

        value, token = now[:, 1:].topk(pruned, dim=1)  # (B, K)
        token = token + 1
        same = token[:, None, :] == last[:, :, None]  # (B, W, K): a repeat needs a blank before it
        grown = torch.where(same, ends_blank[:, :, None], total[:, :, None]) + value[:, None, :]
        flat = grown.view(batch, -1)  # (B, W K)
        # a grown prefix that already stands in the beam gives it its probability
        known, parent = (hashes[:, None, :] == parents[:, :, None]).max(2)  # (B, W): where each prefix grows from ...
        reached, rank = same.max(2)  # ... and by which token
        merges, twin = known & reached, parent * pruned + rank
        stay_token = torch.logaddexp(stay_token, flat.gather(1, twin).masked_fill(~merges, NEVER))
        flat = flat.scatter_add(1, twin, torch.zeros_like(stay_token).masked_fill(merges, NEVER))

        scores, chosen = torch.cat([torch.logaddexp(stay_blank, stay_token), flat], dim=1).topk(beam, dim=1)  # of W + W K
        stays, growth = chosen < beam, (chosen - beam).clamp(min=0)
        source = torch.where(stays, chosen, growth // pruned)
        added = torch.where(stays, -1, token.gather(1, growth % pruned))
        source_hash = hashes.gather(1, source)
        new_hash = torch.where(stays, source_hash, source_hash * HASH_FACTOR + added + 1)
        new_parent = torch.where(stays, parents.gather(1, source), source_hash)
        new_blank = torch.where(stays, stay_blank.gather(1, source), NEVER)
        new_token = torch.where(stays, stay_token.gather(1, source), flat.gather(1, growth))
        new_last = torch.where(stays, last.gather(1, source), added)
        # a beam wider than the number of prefixes must not hold impossible copies of them
        impossible = scores == NEVER
        new_hash, new_last = torch.where(impossible, vacant, new_hash), new_last.masked_fill(impossible, -1)

        alive = (t < lengths)[:, None]
        ends_blank, ends_token = torch.where(alive, new_blank, ends_blank), torch.where(alive, new_token, ends_token)
        hashes, parents = torch.where(alive, new_hash, hashes), torch.where(alive, new_parent, parents)
        last = torch.where(alive, new_last, last)
        steps.append((torch.where(alive, source, places), torch.where(alive, added, -1)))
    return _trace(torch.logaddexp(ends_blank, ends_token), steps, beam)


def _trace(scores: Tensor, steps: list[tuple[Tensor, Tensor]], beam: int) -> list[list[Hypothesis]]:
    """Follow every prefix back to its beginning."""
    batch = len(scores)
    place = torch.arange(beam, device=scores.device).repeat(batch, 1)
    backwards = []
    for source, added in reversed(steps):
        backwards.append(added.gather(1, place))
        place = source.gather(1, place)
    path = torch.stack(backwards[::-1], dim=2) if backwards else torch.full((batch, beam, 0), -1)  # (B, W, T)
    rows, values = path.tolist(), scores.tolist()
    found = []
    for utt_rows, utt_values in zip(rows, values, strict=True):
        hypotheses = [Hypothesis([token for token in row if token >= 0], value) for row, value in zip(utt_rows, utt_values, strict=True)]
        found.append(sorted((one for one in hypotheses if one.score > NEVER), key=lambda one: -one.score))
    return found
