"""An attention decoder as a scorer of prefixes and of complete texts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from m2asr.decode.hypothesis import Hypothesis
from m2asr.models.decoder import TransformerDecoder
from m2asr.models.layers import full_precision
from m2asr.objectives.attention import IGNORED, with_end


class AttentionPrefix:
    """Log-probabilities of prefixes under a decoder, which keeps keys and values; memory (B, T, S), lengths (B,)."""

    def __init__(self, decoder: TransformerDecoder, memory: Tensor, lengths: Tensor, beam: int, prefix: str | None) -> None:
        self.decoder, self.beam = decoder, beam
        self.state = decoder.begin(memory, lengths, prefix)
        self.last: Tensor | None = None
        self.total = torch.zeros(len(memory), beam, dtype=torch.float64, device=memory.device)
        self.extended = self.total

    def scores(self) -> Tensor:
        """Log-probabilities (B, W, V) of every prefix with every token added."""
        logits = self.decoder.step(self.state, self.last, self.beam)
        self.extended = self.total[:, :, None] + full_precision(logits).log_softmax(-1).double()
        return self.extended

    def advance(self, source: Tensor, token: Tensor) -> None:
        self.total = self.extended.flatten(1).gather(1, source * self.extended.shape[2] + token)
        self.state.select(source)
        self.last = token

    def keep(self, utts: Tensor) -> None:
        self.state.keep(utts)
        self.last, self.total, self.extended = self.last[utts], self.total[utts], self.extended[utts]


def text_scores(decoder: TransformerDecoder, memory: Tensor, lengths: Tensor, texts: list[list[int]], prefix: str | None) -> Tensor:
    """Log-probabilities (N,), float64, of N texts; text n belongs to row n of the memory (N, T, S) with lengths (N,)."""
    tokens = pad_sequence([torch.tensor(text, dtype=torch.long) for text in texts], batch_first=True)  # (N, U)
    labels = with_end(tokens, np.array([len(text) for text in texts]), decoder.eos).to(memory.device)  # (N, U + 1)
    log_probs = full_precision(decoder(tokens.to(memory.device), memory, lengths, prefix)).log_softmax(-1).double()  # (N, U + 1, V)
    log_probs = log_probs.gather(2, labels.clamp(min=0)[:, :, None]).squeeze(2)
    return log_probs.masked_fill(labels == IGNORED, 0.0).sum(1)


def rescore(
    decoder: TransformerDecoder,
    memory: Tensor,
    lengths: Tensor,
    batch: list[list[Hypothesis]],
    ctc_weight: float,
    length_penalty: float = 0.0,
    prefix: str | None = None,
) -> list[list[Hypothesis]]:
    """Score the hypotheses of each utterance by decoder and CTC, and sort them, the best first (Zhang et al. 2021, U2++).

    `batch` holds the hypotheses of a CTC search with their scores. The score of text models is added to the mixed score.
    """
    rows = [row for row, hypotheses in enumerate(batch) for _ in hypotheses]
    texts = [hypothesis.tokens for hypotheses in batch for hypothesis in hypotheses]
    decoder_scores = iter(text_scores(decoder, memory[rows], lengths[rows], texts, prefix).tolist())
    ordered = []
    for hypotheses in batch:
        rescored = []
        for hypothesis in hypotheses:
            tokens, text_score = hypothesis.tokens, hypothesis.text_score
            score = (1 - ctc_weight) * next(decoder_scores) + ctc_weight * (hypothesis.score - text_score) + text_score
            rescored.append(Hypothesis(tokens, score / (len(tokens) + 1) ** length_penalty, text_score))
        ordered.append(sorted(rescored, key=lambda hypothesis: -hypothesis.score))
    return ordered
