"""The Transformer decoder predicts the next token from encoder states and the tokens so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.errors import UserError
from m2asr.limits import Depth, ShareBelowOne, Width
from m2asr.models.attention import CrossAttention, KeyValue, SelfAttention, causal_bias, padding_bias
from m2asr.models.experts import ExpertFeedForward, Experts, Router, feed_forward
from m2asr.models.key_values import PastKeyValues
from m2asr.models.layers import Dropout, FeedForward, valid_positions


@dataclass(frozen=True)
class Part:
    """A part of a vocabulary. It is no tuple, since the gate looks into tuples for states."""

    start: int = 0
    stop: int | None = None  # None is the end


ALL = Part()


@dataclass
class DecoderState:
    """The state of a step-by-step decoding of W prefixes of each of B utterances.

    It holds, for each block, the keys and values of the memory and those of the tokens so far.
    """

    memory: list[KeyValue]  # (B, H, T, D/H)
    bias: Tensor  # (B, 1, 1, T)
    past: list[PastKeyValues]  # of B * W prefixes
    start: Tensor  # (D,), the vector that stands before the first token
    part: Part = ALL  # of the vocabulary

    def select(self, source: Tensor) -> None:
        """Reorder the prefixes: prefix w of utterance b takes over the past of its prefix source[b, w]; source is (B, W)."""
        batch, beam = source.shape
        rows = (source + beam * torch.arange(batch, device=source.device)[:, None]).flatten()  # (B * W,)
        for past in self.past:
            past.select(rows)

    def keep(self, utts: Tensor) -> None:
        """Go on with some of the utterances: `utts` (B',) are their indices."""
        beam = self.past[0].count // len(self.bias)
        rows = (beam * utts[:, None] + torch.arange(beam, device=utts.device)).flatten()  # (B' * W,)
        for past in self.past:
            past.keep(rows)
        self.memory = [(keys[utts], values[utts]) for keys, values in self.memory]
        self.bias = self.bias[utts]


class DecoderBlock(nn.Module):
    """Self-attention, attention to the memory and feed-forward, each after a LayerNorm (Vaswani et al. 2017; Xiong et al. 2020).

    With `experts` the feed-forward module is a mixture of experts.
    """

    def __init__(
        self, dim: int, memory_dim: int, heads: int, hidden: int, dropout: float, experts: ExpertFeedForward | None = None
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads)
        self.cross = CrossAttention(dim, memory_dim, heads)
        self.feed_forward = experts or FeedForward(dim, hidden, dropout)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, causal: Tensor, memory: Tensor, bias: Tensor | None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Token states (B, U, D) to token states, with the memory (B, T, S); and the logits (B, U, E) of its router, if it has one."""
        x = self.dropout.add(x, self.attention(x, causal))
        return self._read(x, self.cross.keys(memory), bias, valid)

    def step(self, x: Tensor, past: PastKeyValues, memory: KeyValue, bias: Tensor | None) -> Tensor:
        """The next position of every prefix (B, W, D), which extends its `past`; the W prefixes of an utterance share its memory."""
        added = self.attention.step(x.flatten(0, 1).unsqueeze(1), past)  # (B * W, 1, D)
        return self._read(x + added.view_as(x), memory, bias)[0]

    def _read(self, x: Tensor, memory: KeyValue, bias: Tensor | None, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.dropout.add(x, self.cross(x, memory, bias))
        output, logits = feed_forward(self.feed_forward, x, valid)
        return self.dropout.add(x, output), logits


class TransformerDecoder(nn.Module):
    """Pre-norm Transformer decoder with rotary positions: tokens (B, U) and memory (B, T, S) to logits (B, U + 1, V).

    The last of the V tokens starts and ends a sentence. Each name in `prefixes` has its own start vector, so that one decoder can write
    several languages (as with the language token of Liu et al. 2020, mBART). No utterance sees another and no token sees a later one.
    Padding changes no logit of a valid position. With `joined` tokenizers the vocabulary is that of the first, then that of the second, and
    so on; `for_tokens` gives the decoder of one of them, which has that part alone to choose from. With `experts` feed-forward modules are
    mixtures of experts, whose routers read the states of tokens alone. Raises UserError if `dim` does not fit `heads`, or the options of
    experts do not fit.
    """

    system_arguments = ("memory_dim", "vocab", "prefixes", "sizes")

    def __init__(
        self,
        memory_dim: int,
        vocab: int,
        prefixes: Sequence[str] = (),
        blocks: Depth = 6,
        dim: Width = 256,
        heads: Width = 4,
        ff_mult: Width = 4,
        dropout: ShareBelowOne = 0.1,
        experts: Experts | None = None,
        joined: list[str] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        ends = [0, *accumulate(sizes[name] for name in joined or ())]
        self.parts = {name: Part(*bounds) for name, bounds in zip(joined or (), pairwise(ends), strict=True)}
        vocab = ends[-1] if joined else vocab
        if experts is not None:
            if experts.router != "block" or experts.embedding or experts.mean or experts.languages:
                what = "set router: block, and take embedding, mean and languages away"
                raise UserError(f"experts: a decoder's routers read the states of tokens alone, one in each block; {what}")
            experts.check(blocks)
        self.experts = experts
        self.eos = vocab - 1
        self.embedding = nn.Embedding(vocab, dim)
        self.prefixes = nn.ParameterDict({name: nn.Parameter(torch.randn(dim)) for name in prefixes})
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList()
        for number in range(1, blocks + 1):
            chosen = None
            if experts is not None and experts.in_block(number, blocks):
                chosen = experts.layer(dim, ff_mult * dim, dropout, Router(dim, experts.count))
            self.blocks.append(DecoderBlock(dim, memory_dim, heads, ff_mult * dim, dropout, chosen))
        self.norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, vocab)

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor,
        lengths: Tensor,
        prefix: str | None = None,
        valid: Tensor | None = None,
        with_routers: bool = False,
        part: Part = ALL,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Logits (B, U + 1, V) of every token and of the end, each from the tokens before it; `lengths` (B,) are those of the memory.

        `valid` (B, U + 1) is False at positions that no expert should see. `with_routers` gives beside the logits those of
        every router (B, U + 1, E); they are returned, since what a decoder gives back is where gradients enter it. With a `part` of the
        vocabulary, tokens and logits are those of the part.
        """
        start = self._start(prefix, part).expand(len(tokens), 1, -1)
        x = self.dropout(torch.cat([start, self.embedding(tokens + part.start)], dim=1))  # (B, U + 1, D)
        size = x.shape[1]
        causal = causal_bias(size, x.device)
        bias = padding_bias(valid_positions(lengths, memory.shape[1]), lengths)
        routers: list[Tensor] = []
        for block in self.blocks:
            x, chosen = block(x, causal, memory, bias, valid if valid is None else valid.unsqueeze(-1))
            if chosen is not None:
                routers.append(chosen)
        logits = self._logits(x, part)
        return (logits, routers) if with_routers else logits

    def for_tokens(self, tokens: str) -> TransformerDecoder | DecoderPart:
        """The decoder of one of its joined tokenizers; itself if it has one vocabulary."""
        return DecoderPart(self, self.parts[tokens]) if self.parts else self

    @torch.no_grad()
    def begin(self, memory: Tensor, lengths: Tensor, prefix: str | None = None, part: Part = ALL) -> DecoderState:
        """The state before the first token of utterances with this memory (B, T, S). Decoding step by step is without gradients."""
        keys = [block.cross.keys(memory) for block in self.blocks]
        bias = padding_bias(valid_positions(lengths, memory.shape[1]), lengths)
        return DecoderState(keys, bias, [PastKeyValues() for _ in self.blocks], self._start(prefix, part), part)

    @torch.no_grad()
    def step(self, state: DecoderState, tokens: Tensor | None, beam: int = 1) -> Tensor:
        """Logits (B, W, V) of the token after the newest `tokens` (B, W), or of the first token if None; updates `state`."""
        start = state.start.expand(len(state.memory[0][0]), beam, -1)
        x = start if tokens is None else self.embedding(tokens + state.part.start)  # (B, W, D)
        for block, past, memory in zip(self.blocks, state.past, state.memory, strict=True):
            x = block.step(x, past, memory, state.bias)
        return self._logits(x, state.part)

    def _logits(self, x: Tensor, part: Part) -> Tensor:
        if part == ALL:
            return self.output(self.norm(x))
        tokens = slice(part.start, part.stop)
        return F.linear(self.norm(x), self.output.weight[tokens], self.output.bias[tokens])

    def _start(self, prefix: str | None, part: Part) -> Tensor:
        if prefix is None:
            return self.embedding.weight[self.eos if part.stop is None else part.stop - 1]
        if prefix not in self.prefixes:
            raise UserError(f"prefix `{prefix}`: this decoder does not have it; its prefixes: {', '.join(self.prefixes) or 'none'}")
        return self.prefixes[prefix]


class DecoderPart:
    """A decoder of joined tokenizers that reads and writes the tokens of one of them; its weights are those of the whole decoder."""

    def __init__(self, decoder: TransformerDecoder, part: Part) -> None:
        self.decoder, self.part, self.experts = decoder, part, decoder.experts
        self.eos = part.stop - part.start - 1

    def __call__(self, *args: Any, **options: Any) -> Tensor | tuple[Tensor, list[Tensor]]:
        """As TransformerDecoder.forward, without `part`."""
        return self.decoder(*args, **options, part=self.part)

    def begin(self, memory: Tensor, lengths: Tensor, prefix: str | None = None) -> DecoderState:
        """As TransformerDecoder.begin."""
        return self.decoder.begin(memory, lengths, prefix, self.part)

    def step(self, state: DecoderState, tokens: Tensor | None, beam: int = 1) -> Tensor:
        """As TransformerDecoder.step."""
        return self.decoder.step(state, tokens, beam)
