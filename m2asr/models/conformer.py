"""The Conformer encoder."""

from __future__ import annotations

from collections.abc import Collection

import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.models.attention import SelfAttention, causal_bias, padding_bias
from m2asr.models.convolution import ConvolutionModule
from m2asr.models.layers import Dropout, FeedForward, round_length, valid_positions
from m2asr.models.local_attention import BlockBias, Window, window_bias
from m2asr.models.subsampling import Kind, Lengths, front_end


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, LayerNorm (Gulati et al. 2020, equation 1)."""

    def __init__(self, dim: int, heads: int, kernel: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.feed_forward1 = FeedForward(dim, hidden, dropout)
        self.attention = SelfAttention(dim, heads)
        self.convolution = ConvolutionModule(dim, kernel)
        self.feed_forward2 = FeedForward(dim, hidden, dropout)
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor | BlockBias | None, valid: Tensor | None, causal: bool = False) -> Tensor:
        """States (B, T, D) to states; `bias` goes to the attention, `valid` (B, T, 1) and `causal` to the convolution."""
        x = self.dropout.add(x, self.feed_forward1(x), 0.5)
        x = self.dropout.add(x, self.attention(x, bias))
        x = self.dropout.add(x, self.convolution(x, valid, causal))
        x = self.dropout.add(x, self.feed_forward2(x), 0.5)
        return self.norm(x)


class Conformer(nn.Module):
    """Front end and Conformer blocks: features (B, T, F) to states (B, T', D), one state for 4 frames.

    No layer mixes utterances, and padding changes no valid state. `subsampling` names the front end: the paper's convolutions (conv2d),
    depthwise-separable ones (dwconv), or linear layers on windows of frames (windows); the last two are for cheap runs. With a `window` of
    two numbers a state attends to at most so many states before and after it, in a causal pass to none after it. Raises UserError if `dim`
    does not fit `heads`, `kernel` is even, or `window` is not two numbers from 0.
    """

    system_arguments = ("feat_dim",)

    def __init__(
        self,
        feat_dim: int,
        blocks: int = 8,
        dim: int = 512,
        heads: int = 8,
        kernel: int = 31,
        ff_mult: int = 4,
        dropout: float = 0.1,
        subsampling: Kind = "conv2d",
        window: list[int] | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.window = Window.read(window)
        self.subsampling = front_end(subsampling, feat_dim, dim)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(ConformerBlock(dim, heads, kernel, ff_mult * dim, dropout) for _ in range(blocks))

    @property
    def taps(self) -> list[str]:
        """The names of the states that objectives may read."""
        return ["frontend", *(f"block{number}" for number in range(1, len(self.blocks) + 1)), "output"]

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
    ) -> dict[str, Tensor]:
        """Run the blocks after the first `start` ones over states (B, T', D) with lengths (B,); returns the states at `taps`.

        In a `causal` pass no state sees a later one. `padded` is False where no state is padding; then no mask is needed.
        """
        valid = valid_positions(lengths, states.shape[1]) if padded else None
        bias = self._bias(states, lengths, valid, causal)
        valid = None if valid is None else valid.unsqueeze(-1)  # (B, T', 1)
        tapped: dict[str, Tensor] = {}
        x = self.dropout(states)
        for number, block in enumerate(self.blocks[start:], start + 1):
            x = block(x, bias, valid, causal)
            if f"block{number}" in taps:
                tapped[f"block{number}"] = x
        return tapped | ({"output": x} if "output" in taps else {})  # the last block ends with a LayerNorm

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
