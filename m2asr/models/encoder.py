"""The base class of encoders: a front end, blocks, taps, experts and conditions."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from m2asr.config import Strict
from m2asr.errors import UserError
from m2asr.limits import Depth
from m2asr.models.attention import causal_bias, padding_bias
from m2asr.models.experts import ExpertFeedForward, Experts, Router
from m2asr.models.layers import Dropout, round_length, valid_positions
from m2asr.models.local_attention import BlockBias, Window, window_bias
from m2asr.models.subsampling import Kind, Lengths, front_end

MakeBlock = Callable[[ExpertFeedForward | None], nn.Module]


class Condition(Strict):
    """Give the states behind some blocks a linear map of the tokens' probabilities there (Nozaki and Komatsu 2021, equation 15)."""

    blocks: list[Depth] = Field(min_length=1)  # counted from 1
    head: str  # a module of the type token_head, which a CTC objective trains


class Encoder(nn.Module):
    """Front end and blocks: features (B, T, F) to states (B, T', D), one state for 4 frames.

    No layer mixes utterances, and padding changes no valid state. `subsampling` names the front end: the paper's convolutions (conv2d),
    depthwise-separable ones (dwconv), or linear layers on windows of frames (windows); the last two are for cheap runs. With a `window` of
    two numbers a state attends to at most so many states before and after it, in a causal pass to none after it. With `experts` the last
    feed-forward modules of blocks are mixtures of experts, and with `condition` states are conditioned on what was recognized so far.

    Raises UserError if `window` is not two numbers from 0, or a block that `experts` or `condition` names does not exist.

    Args:
        make_block: gives a block, with these experts in place of its last feed-forward module if there are any.
        hidden: channels inside the feed-forward modules.
        norm: comes after the last block.
    """

    system_arguments = ("feat_dim", "embedding_dim", "condition_vocab")

    def __init__(
        self,
        make_block: MakeBlock,
        feat_dim: int,
        blocks: int,
        dim: int,
        hidden: int,
        dropout: float,
        subsampling: Kind,
        window: list[int] | None,
        experts: Experts | None,
        condition: Condition | None,
        embedding_dim: int,
        condition_vocab: int,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.window = Window.read(window)
        self.subsampling = front_end(subsampling, feat_dim, dim)
        self.dropout = Dropout(dropout)
        self.experts, self.condition, self.shared_router = experts, condition, None
        if experts is not None:
            experts.check(blocks)
            self.router_dim = dim + experts.width(embedding_dim)
            if experts.router == "shared":
                self.shared_router = Router(self.router_dim, experts.count)
        if condition is not None:
            if wrong := [number for number in condition.blocks if not 1 <= number < blocks]:
                raise UserError(f"condition.blocks: {wrong[0]} has no block behind it; name blocks from 1 to {blocks - 1}")
            self.feedback = nn.Linear(condition_vocab, dim)
        self.blocks = nn.ModuleList()
        for number in range(1, blocks + 1):
            chosen = self._experts(hidden, dropout) if experts is not None and experts.in_block(number, blocks) else None
            self.blocks.append(make_block(chosen))
        self.norm = nn.Identity() if norm is None else norm

    @property
    def taps(self) -> list[str]:
        """The names of the states that objectives may read."""
        return ["frontend", *(f"block{number}" for number in range(1, len(self.blocks) + 1)), "output", *self.router_taps]

    @property
    def router_taps(self) -> list[str]:
        """The taps with the logits (B, T', E) of routers, such as `router3` of block 3."""
        numbers = range(1, len(self.blocks) + 1) if self.experts is not None else ()
        return [f"router{number}" for number in numbers if self.experts.in_block(number, len(self.blocks))]

    def output_lengths(self, lengths: Lengths) -> Lengths:
        """Valid states per utterance (B,) from valid frames (B,)."""
        return self.subsampling.output_lengths(lengths)

    def pad(self, feats: Tensor) -> Tensor:
        """Features (B, T, F), padded with zeros so that batches have few different numbers of states (see `round_length`)."""
        states = round_length(self.output_lengths(feats.shape[1]))
        return F.pad(feats, (0, 0, 0, max(0, self.subsampling.frames_for(states) - feats.shape[1])))

    def frontend(self, feats: Tensor) -> Tensor:
        """States (B, T', D) of features (B, T, F), before any of them is masked."""
        return self.subsampling(feats)

    def forward(
        self,
        states: Tensor,
        lengths: Tensor,
        taps: Collection[str] = ("output",),
        start: int = 0,
        causal: bool = False,
        padded: bool = True,
        beside: Tensor | None = None,
        head: nn.Module | None = None,
    ) -> dict[str, Tensor]:
        """Run the blocks after the first `start` ones over states (B, T', D) with lengths (B,); returns the states at `taps`.

        Blocks after the last tap do not run. In a `causal` pass no state sees a later one. `padded` is False where no state is padding;
        then no mask is needed. Routers also read `beside` (B, T', C). `head` maps states to the logits (B, T', V) that later blocks are
        conditioned on.
        """
        valid = valid_positions(lengths, states.shape[1]) if padded else None
        bias = self._bias(states, lengths, valid, causal)
        valid = None if valid is None else valid.unsqueeze(-1)  # (B, T', 1)
        tapped: dict[str, Tensor] = {}
        x = self.dropout(states)
        for number, block in enumerate(self.blocks[start : self._last_block(taps)], start + 1):
            x, logits = block(x, bias, valid, causal, beside, self.shared_router)
            if f"block{number}" in taps:
                tapped[f"block{number}"] = x
            if f"router{number}" in taps:
                tapped[f"router{number}"] = logits
            if self.condition is not None and number in self.condition.blocks:
                x = x + self.feedback(head(x).softmax(-1))
        return tapped | ({"output": self.norm(x)} if "output" in taps else {})

    def _last_block(self, taps: Collection[str]) -> int:
        """The number of blocks that must run for these taps."""
        needed = [number for number in range(1, len(self.blocks) + 1) if {f"block{number}", f"router{number}"} & set(taps)]
        return len(self.blocks) if "output" in taps else max(needed, default=0)

    def _experts(self, hidden: int, dropout: float) -> ExpertFeedForward:
        router = None if self.shared_router else self.experts.make_router(self.router_dim)
        return self.experts.layer(self.dim, hidden, dropout, router)

    def _bias(self, states: Tensor, lengths: Tensor, valid: Tensor | None, causal: bool) -> Tensor | BlockBias | None:
        """The bias of the attention; None where every state sees all states."""
        frames = states.shape[1]
        if self.window is not None and min(self.window) < frames - 1:  # a wider window hides nothing
            window = self.window._replace(right=0) if causal else self.window
            return window_bias(window, frames, valid, states.device)
        bias = None if valid is None else padding_bias(valid, lengths)
        if causal:
            later = causal_bias(frames, states.device)
            bias = later if bias is None else bias + later  # (B, 1, T', T')
        return bias
