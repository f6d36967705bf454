"""Mixtures of experts: feed-forward modules among which a router chooses for every state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from m2asr.config import Strict
from m2asr.errors import UserError
from m2asr.limits import Depth, Positive, ShareBelowOne, Width
from m2asr.models.grouped import grouped_feed_forward
from m2asr.models.layers import Dropout, full_precision, valid_positions

CERTAIN = 1e4  # a logit beside which exp(0) is nothing, in every precision
Scale = Literal["probability", "straight", "renormalized"]
Apply = Callable[[Tensor, Tensor], Tensor]  # rows (N, D) and the expert of each (N,) to outputs (N, D)
Exchange = Callable[[Apply, Tensor, Tensor], Tensor]  # the same, from what this process's experts do with everyone's rows


class Experts(Strict):
    """Options of the experts that replace the last feed-forward modules of the blocks of an encoder or decoder (You et al. 2022, 3M-ASR).

    A router reads the layer's normalized state, and beside it what `embedding`, `mean` and `languages` add. With `router: language` nothing
    is learned: every utterance goes through the expert of its language, and with one expert more than there are languages, all other
    utterances go through that one.
    """

    count: Width
    top: Width = 1  # experts that every state goes through
    blocks: Literal["all", "even", "upper"] | list[Depth] = "all"  # upper: the upper half; or numbers from 1
    router: Literal["block", "shared", "language"] = "block"  # per block, one for all (Gu et al. 2025, Omni-router), or by language
    scale: Scale = "probability"  # what an expert's output is multiplied by; see `scales`
    capacity: Positive | None = None  # times an equal share of the states; null is no limit
    hidden: Width | None = None  # width inside an expert; null is that of the other feed-forward modules
    dropout: ShareBelowOne | None = None  # inside an expert; null is that of the other modules
    embedding: str | None = Field(None, min_length=1)  # an encoder among the modules, whose states routers read without a gradient
    mean: bool = False  # also the mean of these states over the utterance
    languages: list[str] = []  # also which of these languages is spoken; with `router: language` those of the experts, in their order

    def in_block(self, number: int, blocks: int) -> bool:
        """Whether block `number`, counted from 1, of so many blocks has experts."""
        if isinstance(self.blocks, list):
            return number in self.blocks
        return {"all": True, "even": number % 2 == 0, "upper": number > blocks // 2}[self.blocks]

    def make_router(self, dim: int) -> Router | LanguageRouter:
        """A router that reads `dim` channels, those of `beside` included."""
        return LanguageRouter(len(self.languages), self.count) if self.router == "language" else Router(dim, self.count)

    def layer(self, dim: int, hidden: int, dropout: float, router: nn.Module | None) -> ExpertFeedForward:
        """Experts with these options, where a feed-forward module would have so many channels and this dropout."""
        hidden = hidden if self.hidden is None else self.hidden
        dropout = dropout if self.dropout is None else self.dropout
        return ExpertFeedForward(dim, hidden, dropout, self.count, self.top, self.scale, self.capacity, router)

    def width(self, embedding_dim: int) -> int:
        """The number of channels that `beside` adds, with an embedding network of this width."""
        return embedding_dim * (1 + self.mean) + len(self.languages)

    def unserved(self, spoken: Iterable[str]) -> list[str]:
        """Those of these languages that have no expert, sorted; there are none where routers learn."""
        if self.router != "language" or self.count > len(self.languages):
            return []
        return sorted({*spoken} - {*self.languages, ""})  # an empty batch has no language

    def problem(self, spoken: Iterable[str]) -> str:
        """Which of these languages have no expert, as a message; an empty string if each has."""
        unserved = self.unserved(spoken)
        return f"no expert of the encoder is for language {', '.join(unserved)}, only for {', '.join(self.languages)}" if unserved else ""

    def one_hot(self, spoken: list[str], utt_ids: list[str]) -> np.ndarray:
        """Which of `languages` is spoken in each utterance (B, L), as 0 and 1. Raises UserError for a language without an expert."""
        if unserved := self.unserved(spoken):
            raise UserError(f"utterance {utt_ids[spoken.index(unserved[0])]}: {self.problem(unserved[:1])}")
        return np.array([[lang == language for language in self.languages] for lang in spoken], dtype=np.float32)

    def beside(self, states: Tensor, lengths: Tensor, embedded: Tensor | None, language: Tensor | None, causal: bool) -> Tensor | None:
        """What routers read beside the layer's states (B, T, D): (B, T, C), or None where that is nothing.

        `embedded` (B, T, E) are the states of the embedding network, through which no gradient goes; `lengths` (B,) are those of both.
        `language` (B, L) is 1 at the language of each utterance. In a `causal` pass the mean is over the states so far.
        """
        parts = []
        if embedded is not None:
            embedded = full_precision(embedded.detach()).masked_fill(~valid_positions(lengths, embedded.shape[1]).unsqueeze(-1), 0.0)
            parts.append(embedded)
        if self.mean and causal:
            counts = torch.arange(1, embedded.shape[1] + 1, device=embedded.device).unsqueeze(-1)  # (T, 1)
            parts.append(embedded.cumsum(1) / counts)
        elif self.mean:
            parts.append((embedded.sum(1, keepdim=True) / lengths.clamp(min=1)[:, None, None]).expand_as(embedded))
        if self.languages:
            parts.append(language.unsqueeze(1).expand(-1, states.shape[1], -1))
        return torch.cat(parts, dim=-1) if parts else None

    def check(self, blocks: int) -> None:
        """Raise UserError if the options do not fit each other or so many blocks."""
        if self.top > self.count:
            raise UserError(f"experts.top: {self.top} is more than the {self.count} experts; lower it, or raise `count`")
        if isinstance(self.blocks, list) and (wrong := [number for number in self.blocks if number > blocks]):
            raise UserError(f"experts.blocks: {wrong[0]} is behind the last block; there are {blocks}")
        if not any(self.in_block(number, blocks) for number in range(1, blocks + 1)):
            raise UserError(f"experts.blocks: no block has experts; name some from 1 to {blocks}, or take `experts` away")
        if self.router == "language" and (self.top > 1 or self.embedding is not None or self.mean or self.capacity is not None):
            raise UserError("experts.router: the language alone decides; take `top`, `embedding`, `mean` and `capacity` away, or `router`")
        if self.mean and self.embedding is None:
            raise UserError("experts.mean: it is the mean of the states of `embedding`; name a module there, or take `mean` away")
        if len(set(self.languages)) < len(self.languages):
            raise UserError("experts.languages: a language is named twice; name each once")
        if self.router == "language" and (not self.languages or self.count - len(self.languages) not in (0, 1)):
            counts = f"count is {self.count}, and {len(self.languages)} are named"
            raise UserError(f"experts.languages: {counts}; name one for every expert, or for all but the last, which gets the others")


class Router(nn.Module):
    """Logits of the experts from states (..., D), a linear map without bias, always in float32 or better (3M-ASR, section 3.1)."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, dim))
        nn.init.xavier_uniform_(self.weight, gain=0.5)  # zeros would send every state to the same expert

    def forward(self, states: Tensor) -> Tensor:
        with torch.autocast(states.device.type, enabled=False):
            return F.linear(full_precision(states).to(self.weight.dtype), self.weight)  # (..., E)


class LanguageRouter(nn.Module):
    """Logits with which every state has the probability 1 of the expert of its language, or of the last one if that has no language.

    Nothing is learned. The last channels of what it reads are 1 at the language and 0 elsewhere.
    """

    def __init__(self, languages: int, count: int) -> None:
        super().__init__()
        self.languages, self.count = languages, count

    def forward(self, states: Tensor) -> Tensor:
        known = states[..., -self.languages :].detach()  # (..., L)
        other = 1 - known.sum(-1, keepdim=True)
        return CERTAIN * torch.cat([known, other], dim=-1)[..., : self.count]  # (..., E)


class ExpertLinear(nn.Module):
    """The weights (E, M, N) and biases (E, M) of linear layers from N to M channels, initialized as torch does each."""

    def __init__(self, count: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(count, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, outputs).uniform_(-bound, bound))


class ExpertFeedForward(nn.Module):
    """LayerNorm, and for every state the sum over its `top` experts of scale times expert: (B, T, D) -> (B, T, D).

    An expert is the inside of a `FeedForward`, and its weights have the names of those, with one more dimension. States in the padding
    go to no expert, and get zeros. With a `capacity` c an expert takes in training at most c times the states that each would get by equal
    shares, the first ones in the order of the batch; the output for others is zero. `router` is None where the caller gives the router.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        dropout: float,
        count: int,
        top: int = 1,
        scale: Scale = "probability",
        capacity: float | None = None,
        router: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.count, self.top, self.scale, self.capacity = count, top, scale, capacity
        self.norm = nn.LayerNorm(dim)
        self.wide = ExpertLinear(count, dim, hidden)
        self.narrow = ExpertLinear(count, hidden, dim)
        self.dropout = Dropout(dropout)
        self.router = router
        self.exchange: Exchange | None = None  # where the experts are spread over processes

    def forward(
        self, x: Tensor, valid: Tensor | None = None, beside: Tensor | None = None, router: Router | None = None
    ) -> tuple[Tensor, Tensor]:
        """The output (B, T, D) and the router's logits (B, T, E).

        `valid` (B, T, 1) is False in the padding, None where there is none. `beside` (B, T, C) is read by the router after the state.
        """
        states = self.norm(x)  # (B, T, D)
        read = states if beside is None else torch.cat([full_precision(states), beside], dim=-1)
        logits = (router or self.router)(read)  # (B, T, E)
        experts = choices(logits, valid if valid is None else valid.squeeze(-1), self.top)  # (B, T, K)
        chosen = logits.softmax(-1).gather(-1, experts.clamp(max=self.count - 1))  # (B, T, K)
        if self.capacity is not None and self.training:
            experts = limit(experts, self.count, self.capacity)
        rows = states.unsqueeze(2).expand(*states.shape[:2], self.top, -1).reshape(-1, states.shape[-1])  # (B T K, D)
        apply = self.apply_experts if self.exchange is None else partial(self.exchange, self.apply_experts)
        output = apply(rows, experts.flatten()).view(*chosen.shape, states.shape[-1])  # (B, T, K, D)
        output = output * scales(chosen, self.scale).unsqueeze(-1).to(output.dtype)
        return output.sum(2) if self.top > 1 else output.squeeze(2), logits

    def apply_experts(self, rows: Tensor, experts: Tensor) -> Tensor:
        """The output (N, D) of each row's expert (N,) for rows (N, D), and zeros where that is the number of experts."""
        return grouped_feed_forward(rows, experts, self.wide.weight, self.wide.bias, self.narrow.weight, self.narrow.bias, self.dropout)


def feed_forward(
    module: nn.Module, x: Tensor, valid: Tensor | None, beside: Tensor | None = None, router: Router | None = None
) -> tuple[Tensor, Tensor | None]:
    """The output (B, T, D) of a dense feed-forward module or of experts, and the logits of their router, None for a dense one."""
    return module(x, valid, beside, router) if isinstance(module, ExpertFeedForward) else (module(x), None)


def choices(logits: Tensor, valid: Tensor | None, top: int) -> Tensor:
    """The `top` experts of every state (B, T, K) by their logits (B, T, E), and E, which is none, where `valid` (B, T) is False."""
    experts = logits.topk(top).indices
    return experts if valid is None else experts.masked_fill(~valid.unsqueeze(-1), logits.shape[-1])


def expert_counts(experts: Tensor, count: int) -> Tensor:
    """How many of the choices (...) fall on each of `count` experts (E,), in float32; nothing waits for the device."""
    experts = experts.flatten()
    return torch.zeros(count + 1, device=experts.device).index_add_(0, experts, torch.ones_like(experts, dtype=torch.float32))[:count]


def scales(chosen: Tensor, kind: Scale) -> Tensor:
    """What the outputs of the chosen experts are multiplied by, from their probabilities p (..., K).

    `probability`: p, as published. `renormalized`: p / sum p, which is 1 and gives the router no gradient with one expert. `straight`: the
    value of p / sum p with the relative gradient of p, so copies of one expert give exactly its output, and the router learns all the same.
    """
    if kind == "probability":
        return chosen
    if kind == "renormalized":
        return chosen / chosen.sum(-1, keepdim=True)
    share, value = (chosen / chosen.sum(-1, keepdim=True)).detach(), chosen.detach()
    smallest = torch.finfo(value.dtype).tiny  # a later choice may have the probability 0
    return share * (1 + (chosen - value) / value.clamp(min=smallest))  # the bracket has the value 1 exactly


def limit(experts: Tensor, count: int, capacity: float) -> Tensor:
    """Choices (B, T, K) of `count` experts, where those above an expert's capacity become `count`, as those of the padding are."""
    flat = experts.flatten()  # (N,)
    taken = (flat.unsqueeze(1) == torch.arange(count, device=flat.device)).long()  # (N, E)
    earlier = (taken.cumsum(0) - taken).gather(1, flat.clamp(max=count - 1).unsqueeze(1)).squeeze(1)  # (N,)
    most = (capacity / count * taken.sum()).ceil()
    return torch.where(earlier < most, flat, count).view_as(experts)
