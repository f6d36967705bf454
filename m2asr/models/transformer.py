"""The Transformer encoder."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from m2asr.limits import Depth, Natural, ShareBelowOne, Width
from m2asr.models.attention import SelfAttention
from m2asr.models.encoder import Condition, Encoder
from m2asr.models.experts import ExpertFeedForward, Experts, Router, feed_forward
from m2asr.models.layers import Dropout, FeedForward
from m2asr.models.local_attention import BlockBias
from m2asr.models.subsampling import Kind


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each after a LayerNorm (Vaswani et al. 2017; Xiong et al. 2020).

    With `experts` the feed-forward module is a mixture of experts.
    """

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float, experts: ExpertFeedForward | None = None) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads)
        self.feed_forward = experts or FeedForward(dim, hidden, dropout)
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
        """As ConformerBlock.forward; nothing in it but the attention looks at other states, so `causal` is in `bias` alone."""
        x = self.dropout.add(x, self.attention(x, bias))
        output, logits = feed_forward(self.feed_forward, x, valid, beside, router)
        return self.dropout.add(x, output), logits


class Transformer(Encoder):
    """An encoder of Transformer blocks with rotary positions, and a LayerNorm after the last.

    Raises UserError if `dim` does not fit `heads`, or for the reasons of Encoder.
    """

    def __init__(
        self,
        feat_dim: int,
        blocks: Depth = 12,
        dim: Width = 512,
        heads: Width = 8,
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
        make_block = partial(TransformerBlock, dim, heads, hidden, dropout)
        rest = (dropout, subsampling, window, experts, condition, embedding_dim, condition_vocab)
        super().__init__(make_block, feat_dim, blocks, dim, hidden, *rest, norm=nn.LayerNorm(dim))
