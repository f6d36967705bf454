"""The Conformer encoder."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from m2asr.limits import Depth, Kernel, Natural, ShareBelowOne, Width
from m2asr.models.attention import SelfAttention
from m2asr.models.convolution import ConvolutionModule
from m2asr.models.encoder import Condition, Encoder
from m2asr.models.experts import ExpertFeedForward, Experts, Router, feed_forward
from m2asr.models.layers import Dropout, FeedForward
from m2asr.models.local_attention import BlockBias
from m2asr.models.subsampling import Kind


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, LayerNorm (Gulati et al. 2020, equation 1).

    With `experts` the second feed-forward module is a mixture of experts.
    """

    def __init__(self, dim: int, heads: int, kernel: int, hidden: int, dropout: float, experts: ExpertFeedForward | None = None) -> None:
        super().__init__()
        self.feed_forward1 = FeedForward(dim, hidden, dropout)
        self.attention = SelfAttention(dim, heads)
        self.convolution = ConvolutionModule(dim, kernel)
        self.feed_forward2 = experts or FeedForward(dim, hidden, dropout)
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | BlockBias | None,
        valid: Tensor | None,
        causal: bool = False,
        beside: Tensor | None = None,
        router: Router | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """States (B, T, D) to states, and the logits (B, T, E) of its router, None without experts.

        `bias` goes to the attention, `valid` (B, T, 1) and `causal` to the convolution, `beside` (B, T, C) and `router` to the experts.
        """
        x = self.dropout.add(x, self.feed_forward1(x), 0.5)
        x = self.dropout.add(x, self.attention(x, bias))
        x = self.dropout.add(x, self.convolution(x, valid, causal))
        output, logits = feed_forward(self.feed_forward2, x, valid, beside, router)
        return self.norm(self.dropout.add(x, output, 0.5)), logits


class Conformer(Encoder):
    """An encoder of Conformer blocks, the last of which ends with a LayerNorm.

    Raises UserError if `dim` does not fit `heads`, `kernel` is even, or for the reasons of Encoder.
    """

    def __init__(
        self,
        feat_dim: int,
        blocks: Depth = 8,
        dim: Width = 512,
        heads: Width = 8,
        kernel: Kernel = 31,
        ff_mult: Width = 4,
        dropout: ShareBelowOne = 0.1,
        subsampling: Kind = "conv2d",
        window: list[Natural] | None = None,
        experts: Experts | None = None,
        condition: Condition | None = None,
        embedding_dim: int = 0,
        condition_vocab: int = 0,
    ) -> None:
        hidden = ff_mult * dim
        make_block = partial(ConformerBlock, dim, heads, kernel, hidden, dropout)
        rest = (dropout, subsampling, window, experts, condition, embedding_dim, condition_vocab)
        super().__init__(make_block, feat_dim, blocks, dim, hidden, *rest)
