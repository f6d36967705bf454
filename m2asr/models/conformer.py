"""The Conformer encoder."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from m2asr.models.attention import SelfAttention
from m2asr.models.convolution import ConvolutionModule
from m2asr.models.encoded import Encoded
from m2asr.models.layers import Dropout, FeedForward, padding_mask
from m2asr.models.subsampling import Conv2dSubsampling


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, LayerNorm (Gulati et al. 2020, equation 1)."""

    def __init__(self, dim: int, heads: int, kernel: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.feed_forward1 = FeedForward(dim, hidden, dropout)
        self.attention = SelfAttention(dim, heads, dropout)
        self.convolution = ConvolutionModule(dim, kernel, dropout)
        self.feed_forward2 = FeedForward(dim, hidden, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + 0.5 * self.feed_forward1(x)
        x = x + self.attention(x, mask)
        x = x + self.convolution(x, mask)
        x = x + 0.5 * self.feed_forward2(x)
        return self.norm(x)


class Conformer(nn.Module):
    """Convolution front end and Conformer blocks: features (B, T, F) to states (B, T', D) every 40 ms.

    No layer mixes utterances, and padding changes no state.
    """

    def __init__(
        self,
        feat_dim: int,
        blocks: int = 8,
        dim: int = 512,
        heads: int = 8,
        kernel: int = 31,
        ff_mult: int = 4,
        dropout: float = 0.1,
        subsampling: Literal["conv2d", "dwconv"] = "conv2d",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.subsampling = Conv2dSubsampling(feat_dim, dim, separable=subsampling == "dwconv")
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(ConformerBlock(dim, heads, kernel, ff_mult * dim, dropout) for _ in range(blocks))

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Valid states per utterance (B,) from valid frames (B,)."""
        return self.subsampling.output_lengths(lengths)

    def forward(self, feats: Tensor, lengths: Tensor) -> Encoded:
        """Encode features (B, T, F) with valid frames (B,)."""
        return self.encode(*self.frontend(feats, lengths))

    def frontend(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Front-end states (B, T', D) and how many of them are valid (B,), before any mask."""
        return self.subsampling(feats), self.output_lengths(lengths)

    def encode(self, states: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Encoded:
        """Run the blocks over front-end states (B, T', D); `mask` (B, T') tells which of them were masked, if any."""
        valid = padding_mask(lengths, states.shape[1])
        attend = None if valid is None else valid | (lengths == 0)[:, None]  # an empty utterance attends to its padding: no NaN
        taps = {"frontend": states}
        x = self.dropout(states)
        for number, block in enumerate(self.blocks, 1):
            x = block(x, attend)
            taps[f"block{number}"] = x
        taps["output"] = x
        return Encoded(taps, lengths, mask)
