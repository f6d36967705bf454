"""Run a trained system over a set: batches in, one hypothesis per utterance and objective out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from m2asr.config import DecodeConfig
from m2asr.data.batch import Batch
from m2asr.decode.ctc import greedy, prefix_beam
from m2asr.objectives.ctc import CTC, representable
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.text.tokenizer import Tokenizer


@dataclass
class Recognized:
    """The hypotheses of one objective on one set, and what search met on the way."""

    texts: dict[str, str] = field(default_factory=dict)  # utterance -> hypothesis
    seconds: float = 0.0
    audio_seconds: float = 0.0
    paired: int = 0  # utterances with a reference for this objective
    unrepresentable: int = 0  # references that need more states than the encoder gives, so that CTC cannot produce them


def recognize(
    system: System, names: list[str], batches: Iterable[Batch], tokenizers: Mapping[str, Tokenizer], config: DecodeConfig
) -> dict[str, Recognized]:
    """Decode every batch with the CTC heads `names`; each batch is encoded once, without masks, dropout or gradients."""
    found = {name: Recognized() for name in names}
    device = next(system.parameters()).device
    system.eval()
    with torch.inference_mode():
        for batch in batches:
            batch = batch.to(device)
            start = time.perf_counter()
            encoded = system.encode(batch, View(train=False, grad=False), seed=0)
            encode_seconds = time.perf_counter() - start
            for name in names:
                start = time.perf_counter()
                head: CTC = system.objectives[name]
                hypotheses = search(head.log_probs(encoded), encoded.lengths, config)
                one = found[name]
                for utt, tokens in zip(batch.utt_ids, hypotheses, strict=True):
                    one.texts[utt] = tokenizers[head.tokens].decode(tokens)
                one.seconds += time.perf_counter() - start + encode_seconds
                one.audio_seconds += batch.seconds
                present = batch.target_lengths[head.target] >= 0
                one.paired += int(present.sum())
                one.unrepresentable += int((present & ~representable(batch, head.target, encoded.lengths)).sum())
    return found


def search(log_probs: torch.Tensor, lengths: torch.Tensor, config: DecodeConfig) -> list[list[int]]:
    """The best token sequence of every utterance from CTC log-probabilities (B, T, V)."""
    if config.method == "greedy":
        return [hypothesis.tokens for hypothesis in greedy(log_probs, lengths)]
    return [best[0].tokens for best in prefix_beam(log_probs, lengths, config.beam, config.token_prune)]
