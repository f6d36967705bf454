"""Counts through which experts of a trained system the states of each language go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from m2asr.decode.encode import WHOLE
from m2asr.decode.trained import Trained
from m2asr.errors import UserError
from m2asr.models.experts import choices, expert_counts
from m2asr.progress import visible

SECONDS = 120.0  # of audio per batch


@dataclass
class Use:
    """What a router did with the states of a language: choices of each expert (E,), the number of states, the sum of entropies in nats."""

    counts: torch.Tensor
    states: int = 0
    entropy: float = 0.0

    @property
    def shares(self) -> list[float]:
        """The share of choices of each expert."""
        return (self.counts / self.counts.sum().clamp(min=1)).tolist()


def expert_use(trained: Trained, sets: Sequence[str]) -> dict[str, dict[str, Use]]:
    """The use of experts by tap of the router and language, over all utterances of the sets.

    Utterances that are too short for a state are left out. Raises UserError if the system has no experts, a set is missing, or nothing is
    left.
    """
    system = trained.system
    if system.encoder.experts is None:
        raise UserError(f"{trained.exp}: its encoder has no experts; train with model.encoder.experts, as conf/train_3m.yaml does")
    for name in sets:
        trained.open(name)  # all are there before the first is read
    count, top, taps = system.encoder.experts.count, system.encoder.experts.top, system.encoder.router_taps
    use: dict[str, dict[str, Use]] = {tap: {} for tap in taps}
    with torch.inference_mode():
        batches = (batch for name in sets for batch in trained.batches(name, [], SECONDS))
        for batch in tqdm(batches, desc="experts", unit="batch", disable=not visible()):
            encoded = system.encode(system.prepare(batch, views=[WHOLE]).to(system.mean.device), WHOLE, taps)
            for tap in taps:
                logs = encoded.states[tap].log_softmax(-1)  # (B, T', E)
                lengths = batch.drawn[WHOLE].states.tolist()
                for row, (lang, length) in enumerate(zip(batch.lang, lengths, strict=True)):
                    if length == 0:
                        continue
                    total = use[tap].setdefault(lang, Use(torch.zeros(count)))
                    total.counts += expert_counts(choices(logs[row, :length], None, top), count).cpu()
                    total.entropy -= float((logs[row, :length].exp() * logs[row, :length]).sum())
                    total.states += length
    if not any(use.values()):
        raise UserError(f"{', '.join(sets)}: no utterance in these sets that is long enough for a state; name others")
    return use
