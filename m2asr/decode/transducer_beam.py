"""Beam search of a transducer over a batch, with or without text models."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.decode.fusion import Fusion, States
from m2asr.decode.hypothesis import Hypothesis
from m2asr.decode.prefix_beam import BLANK, HASH_FACTOR, NEVER
from m2asr.decode.text_tree import BestTexts, TextTree
from m2asr.models.layers import full_precision
from m2asr.models.predictor import PredictorState

NONE = -1  # the last token of a prefix without tokens; what a prefix adds that takes a blank


@torch.inference_mode()
def transducer_beam(
    states: Tensor,
    lengths: Tensor,
    predictor: nn.Module,
    joiner: nn.Module,
    max_symbols: int,
    beam: int,
    token_prune: int,
    fusion: Fusion | None = None,
    least: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """The `beam` best texts of every utterance, best first, by alignment-length synchronous search (Saon et al. 2020).

    In every step each prefix takes one symbol more: a blank, which goes on to the next state, or one of its `token_prune` most probable
    tokens. The `beam` best of all extended prefixes stay. Prefixes of a step have taken equally many symbols, so those with equal tokens
    are at the same state: they are merged by adding their probabilities. A state writes at most `max_symbols` tokens; each prefix has the
    probability of its alignments for every number of tokens at its state, so this limit is exact too. `fusion` adds its scores whenever a
    prefix grows, and at the end of the text; the end is the last token, and with fusion it is never written.

    A prefix takes no blank after which the states that are left could not write the `least` (B,) number of tokens.

    If the beam and token_prune hold everything, the scores are exact; a beam of one without fusion is greedy search. states (B, T, S),
    lengths (B,). The result of an utterance does not depend on the rest of the batch.
    """
    search = _Search(joiner.encoded(states), lengths, predictor, joiner, max_symbols, beam, token_prune, fusion or None, least)
    prefixes = search.retire(search.begin())
    for _ in range(int(lengths.max()) * (max_symbols + 1)):  # no alignment has more symbols
        if not len(prefixes.rows):
            break
        prefixes = search.retire(search.step(prefixes))
    return search.best.hypotheses(search.tree)


@dataclass(frozen=True)
class _Prefixes:
    """The W prefixes of each of R utterances that are not complete; tensors are (R, W) unless another shape is given."""

    rows: Tensor  # (R,) the utterances
    counts: Tensor  # (R, W, N + 1) log-probabilities of the alignments with n tokens at the newest state; N is max_symbols
    total: Tensor  # ... of all alignments
    text: Tensor  # score that fusion has added
    size: Tensor  # number of tokens
    position: Tensor  # the newest state
    hashes: Tensor
    parents: Tensor  # hash of the prefix without its last token
    last: Tensor  # last token
    nodes: Tensor  # of the tree of texts
    predicted: Tensor  # (R, W, J) projected states of the predictor
    memory: PredictorState  # of R * W prefixes
    fused: States  # states of the text models

    def keep(self, kept: Tensor) -> _Prefixes:
        """The prefixes of some utterances alone: those where `kept` (R,) is True."""
        tensors = ("rows", "counts", "total", "text", "size", "position", "hashes", "parents", "last", "nodes", "predicted")
        memory = self.memory.rows(kept.repeat_interleave(self.text.shape[1]))
        fused = [state[kept] for state in self.fused]
        return _Prefixes(**{name: getattr(self, name)[kept] for name in tensors}, memory=memory, fused=fused)


@dataclass(frozen=True)
class _Candidates:
    """The prefixes that a step selects from: W that take a blank, then W K that grow by one of K tokens."""

    blank: Tensor  # (R, W, N + 1) log-probabilities as in `counts`, after a blank or a merge
    values: Tensor  # (R, W * K) log-probabilities of the tokens
    tokens: Tensor  # (R, W * K)
    total: Tensor  # (R, W + W * K) log-probabilities of the prefixes
    text: Tensor  # (R, W + W * K) score that fusion adds to them; without fusion not used


class _Search:
    """One search over a batch: its settings, the tree of all texts, and the best complete texts."""

    def __init__(
        self,
        encoded: Tensor,
        lengths: Tensor,
        predictor: nn.Module,
        joiner: nn.Module,
        max_symbols: int,
        beam: int,
        token_prune: int,
        fusion: Fusion | None,
        least: Tensor | None,
    ) -> None:
        self.encoded, self.lengths = encoded, lengths  # (B, T, J), (B,)
        self.least = torch.zeros_like(lengths) if least is None else torch.minimum(least, lengths * max_symbols)  # (B,)
        self.predictor, self.joiner = predictor, joiner
        self.max_symbols, self.beam, self.token_prune, self.fusion = max_symbols, beam, token_prune, fusion
        device = encoded.device
        self.vacant = torch.arange(-1, -beam - 1, -1, device=device)  # (W,) hashes where there is no prefix
        self.tree, self.best = TextTree(device), BestTexts(len(encoded), beam, device)

    def begin(self) -> _Prefixes:
        """The empty prefix of every utterance, at its first state."""
        batch, beam, device = len(self.encoded), self.beam, self.encoded.device
        step, memory = self.predictor.step(self.predictor.begin(batch))  # (B, 1, D)
        counts = torch.full((batch, beam, self.max_symbols + 1), NEVER, dtype=torch.float64, device=device)
        counts[:, 0, 0] = 0.0
        zeros = torch.zeros(batch, beam, dtype=torch.long, device=device)
        hashes = self.vacant.repeat(batch, 1)
        hashes[:, 0] = 0
        return _Prefixes(
            rows=torch.arange(batch, device=device),
            counts=counts,
            total=counts[:, :, 0],
            text=torch.zeros(batch, beam, dtype=torch.float64, device=device),
            size=zeros,
            position=zeros,
            hashes=hashes,
            parents=zeros,
            last=torch.full_like(zeros, NONE),
            nodes=zeros,
            predicted=self.joiner.predicted(step).expand(-1, beam, -1),
            memory=memory.rows(torch.arange(batch, device=device).repeat_interleave(beam)),
            fused=self.fusion.start(batch, beam, device) if self.fusion else [],
        )

    def step(self, prefixes: _Prefixes) -> _Prefixes:
        """The best prefixes with one symbol more."""
        logits = self.joiner.logits(self.encoded[prefixes.rows[:, None], prefixes.position], prefixes.predicted)  # (R, W, V)
        candidates = self._candidates(prefixes, full_precision(logits).log_softmax(-1))
        left = self.lengths[prefixes.rows][:, None] - prefixes.position - 1  # (R, W) states after a blank
        short = prefixes.size + left * self.max_symbols < self.least[prefixes.rows][:, None]
        candidates.total[:, : self.beam].masked_fill_(short, NEVER)
        scores = candidates.total + candidates.text if self.fusion else candidates.total
        scores, chosen = scores.topk(self.beam, dim=1)  # (R, W)
        return self._select(prefixes, candidates, chosen, scores == NEVER)

    def retire(self, prefixes: _Prefixes) -> _Prefixes:
        """Move prefixes that have left the last state to the complete texts, and leave out utterances that cannot get better ones."""
        lengths, rows = self.lengths[prefixes.rows][:, None], prefixes.rows  # (R, 1), (R,)
        scores, ended = prefixes.total + prefixes.text, prefixes.position >= lengths  # (R, W)
        if bool(ended.any()):
            end = self.fusion.ends(prefixes.fused) if self.fusion else 0.0
            self.best.add(rows, (scores + end).masked_fill(~ended, NEVER), prefixes.text + end, prefixes.nodes)
            prefixes, scores = self._vacate(prefixes, ended), scores.masked_fill(ended, NEVER)
        if self.best.empty:
            return prefixes
        # a text gets all its alignments from prefixes in the beam, so it has at most the sum of what they can reach
        most_gain = self.fusion.most_gain * self.max_symbols if self.fusion else 0.0
        ceiling = (scores + most_gain * (lengths - prefixes.position)).logsumexp(1)
        kept = ceiling > self.best.scores[rows, -1]  # (R,)
        return prefixes if bool(kept.all()) else prefixes.keep(kept)

    def _candidates(self, prefixes: _Prefixes, log_probs: Tensor) -> _Candidates:
        """What the prefixes can become by one symbol with log_probs (R, W, V), which are changed in place."""
        free = prefixes.counts[:, :, :-1]  # (R, W, N) alignments that may write another token at this state
        # an extension that equals another prefix of the beam adds its probability to that prefix
        has_parent, parent = (prefixes.hashes[:, None, :] == prefixes.parents[:, :, None]).max(2)  # (R, W): where a prefix grows from
        twin = has_parent & (prefixes.last != NONE)
        row, rank = twin.nonzero(as_tuple=True)  # (M,)
        parent, last = parent[row, rank], prefixes.last[row, rank]
        blank = torch.full_like(prefixes.counts, NEVER)
        stay = prefixes.total + log_probs[:, :, BLANK]
        blank[:, :, 0] = stay
        free_total = free.logsumexp(2)
        if len(row):
            token = log_probs[row, parent, last].double()  # (M,)
            blank[row, rank, 1:] = free[row, parent] + token[:, None]
            stay[row, rank] = torch.logaddexp(stay[row, rank], free_total[row, parent] + token)
            log_probs[row, parent, last] = NEVER
        vocab = log_probs.shape[2]
        values, tokens = self._extensions(log_probs[:, :, 1 : vocab - 1 if self.fusion else vocab])  # (R, W, K)
        total = torch.cat([stay, (free_total[:, :, None] + values).flatten(1)], dim=1)
        text = prefixes.text
        if self.fusion:
            flat = [state.view(-1, 1) for state in prefixes.fused]
            gains = self.fusion.gains(flat, tokens.flatten(0, 1))  # (R * W, 1, K), or of one number
            grown_text = text[:, :, None] + gains.expand(tokens.flatten(0, 1)[:, None].shape).reshape(tokens.shape)
            text = torch.cat([text, grown_text.flatten(1)], dim=1)
        return _Candidates(blank, values.flatten(1), tokens.flatten(1), total, text)

    def _extensions(self, log_probs: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probabilities of the K most probable tokens and the tokens, (R, W, K) both, of log_probs (R, W, V') from token 1 on."""
        most = self.token_prune if self.fusion else min(self.token_prune, self.beam)  # more tokens of one prefix are never selected
        values, tokens = log_probs.topk(min(most, log_probs.shape[2]), dim=2)
        return values.double(), tokens + 1

    def _select(self, prefixes: _Prefixes, candidates: _Candidates, chosen: Tensor, impossible: Tensor) -> _Prefixes:
        """The chosen candidates (R, W) as prefixes; a beam wider than their number holds impossible ones, which become vacant."""
        number = (chosen - self.beam).clamp(min=0)  # of an extension
        grown = chosen >= self.beam
        source = torch.where(grown, number // (candidates.tokens.shape[1] // self.beam), chosen)
        added = torch.where(grown, candidates.tokens.gather(1, number), NONE)
        value = candidates.values.gather(1, number)
        of_counts = source[:, :, None].expand_as(prefixes.counts)
        after_token = F.pad(prefixes.counts.gather(1, of_counts)[:, :, :-1] + value[:, :, None], (1, 0), value=NEVER)
        source_hash = prefixes.hashes.gather(1, source)
        best = replace(
            prefixes,
            counts=torch.where(grown[:, :, None], after_token, candidates.blank.gather(1, of_counts)),
            total=candidates.total.gather(1, chosen),
            text=candidates.text.gather(1, chosen) if self.fusion else prefixes.text,
            size=prefixes.size.gather(1, source) + grown,
            position=prefixes.position.gather(1, source) + ~grown,
            hashes=torch.where(grown, source_hash * HASH_FACTOR + added + 1, source_hash),
            parents=torch.where(grown, source_hash, prefixes.parents.gather(1, source)),
            last=torch.where(grown, added, prefixes.last.gather(1, source)),
            nodes=prefixes.nodes.gather(1, source),
            fused=self.fusion.advance(prefixes.fused, source, added) if self.fusion else [],
        )
        best = self._write(best, source, added, grown & ~impossible)
        return self._vacate(best, impossible)

    def _write(self, prefixes: _Prefixes, source: Tensor, added: Tensor, grown: Tensor) -> _Prefixes:
        """The prefixes with nodes in the tree, and with a predictor that has read the added tokens (R, W) where they have `grown`."""
        index = grown.flatten().nonzero().squeeze(1)  # (M,)
        flat = (torch.arange(len(source), device=source.device)[:, None] * self.beam + source).flatten()  # (R * W,)
        memory, predicted = prefixes.memory.rows(flat), prefixes.predicted.flatten(0, 1)[flat]
        nodes, tokens = prefixes.nodes.flatten(), added.flatten()[index]
        if len(index):
            nodes = nodes.index_copy(0, index, self.tree.add(nodes[index], tokens))
            step, after = self.predictor.step(memory.rows(index), tokens[:, None])
            memory = memory.with_rows(index, after)
            predicted = predicted.index_copy(0, index, self.joiner.predicted(step[:, 0]).to(predicted.dtype))
        return replace(prefixes, nodes=nodes.view_as(added), memory=memory, predicted=predicted.view(*added.shape, -1))

    def _vacate(self, prefixes: _Prefixes, left: Tensor) -> _Prefixes:
        """The prefixes without those where `left` (R, W) is True."""
        return replace(
            prefixes,
            counts=prefixes.counts.masked_fill(left[:, :, None], NEVER),
            total=prefixes.total.masked_fill(left, NEVER),
            position=prefixes.position.masked_fill(left, 0),
            hashes=torch.where(left, self.vacant, prefixes.hashes),
            last=prefixes.last.masked_fill(left, NONE),
        )
