"""A decoder as a scorer of prefixes and of whole texts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from m2asr.decode.hypothesis import Hypothesis
from m2asr.models.decoder import TransformerDecoder
from m2asr.objectives.attention import IGNORED, with_end
from m2asr.objectives.objective import full_precision


class AttentionPrefix:
    """Log-probabilities of prefixes under a decoder, token by token with kept keys and values; memory (B, T, S), lengths (B,)."""

    def __init__(self, decoder: TransformerDecoder, memory: Tensor, lengths: Tensor, beam: int, prefix: str | None) -> None:
        self.decoder, self.beam = decoder, beam
        self.state = decoder.begin(memory, lengths, prefix)
        self.last: Tensor | None = None
        self.total = torch.zeros(len(memory), beam, dtype=torch.float64, device=memory.device)
        self.found = self.total

    def scores(self) -> Tensor:
        """Log-probabilities (B, W, V) of every prefix with every token added."""
        logits = self.decoder.step(self.state, self.last, self.beam)
        self.found = self.total[:, :, None] + full_precision(logits).log_softmax(-1).double()
        return self.found

    def advance(self, source: Tensor, token: Tensor) -> None:
        self.total = self.found.flatten(1).gather(1, source * self.found.shape[2] + token)
        self.state.select(source)
        self.last = token


def text_scores(decoder: TransformerDecoder, memory: Tensor, lengths: Tensor, texts: list[list[int]], prefix: str | None) -> Tensor:
    """Log-probabilities (N,), float64, of N texts, each of one row of the memory (N, T, S) with lengths (N,)."""
    tokens = pad_sequence([torch.tensor(text, dtype=torch.long) for text in texts], batch_first=True)  # (N, U)
    labels = with_end(tokens, np.array([len(text) for text in texts]), decoder.eos).to(memory.device)  # (N, U + 1)
    found = full_precision(decoder(tokens.to(memory.device), memory, lengths, prefix)).log_softmax(-1).double()  # (N, U + 1, V)
    found = found.gather(2, labels.clamp(min=0)[:, :, None]).squeeze(2)
    return found.masked_fill(labels == IGNORED, 0.0).sum(1)


def rescore(
    decoder: TransformerDecoder,
    memory: Tensor,
    lengths: Tensor,
    found: list[list[Hypothesis]],
    ctc_weight: float,
    length_penalty: float = 0.0,
    prefix: str | None = None,
) -> list[list[Hypothesis]]:
    """Order each utterance's hypotheses, which carry CTC scores, by the mixed score of decoder and CTC (Zhang et al. 2021, U2++).

    What text models gave to a hypothesis is added to that.
    """
    rows = [row for row, hypotheses in enumerate(found) for _ in hypotheses]
    texts = [one.tokens for hypotheses in found for one in hypotheses]
    values = iter(text_scores(decoder, memory[rows], lengths[rows], texts, prefix).tolist())
    ordered = []
    for hypotheses in found:
        again = []
        for one in hypotheses:
            mixed = (1 - ctc_weight) * next(values) + ctc_weight * (one.score - one.text_score) + one.text_score
            again.append(Hypothesis(one.tokens, mixed / (len(one.tokens) + 1) ** length_penalty, one.text_score))
        ordered.append(sorted(again, key=lambda one: -one.score))
    return ordered
