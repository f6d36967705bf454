"""Losses and metrics on the development sets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch

from m2asr.data.batch import Batch
from m2asr.moo.collectives import Collectives
from m2asr.objectives.system import System
from m2asr.train.precision import autocast
from m2asr.train.seeds import seed_of


def evaluate(
    system: System,
    batches: Mapping[str, Iterable[Batch]],
    streams: Mapping[str, str],
    dtype: torch.dtype,
    seed: int = 0,
    group: Collectives | None = None,
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Mean loss and metrics of every objective over its stream's development batches; cuts are the same at every call.

    `batches` maps streams to batches, `streams` objectives to streams. Objectives without a development utterance are left out. Of several
    processes each has every `world`-th batch.
    """
    group = group or Collectives()
    device = next(system.parameters()).device
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
    system.eval()
    with torch.no_grad(), autocast(device, dtype):
        for stream, stream_batches in batches.items():
            names = [name for name in streams if streams[name] == stream]
            for place, batch in enumerate(stream_batches):
                number, batch = place * group.world + group.rank, batch.to(device)
                encoded = {}
                for name in names:
                    objective = system.objectives[name]
                    for view in objective.views:
                        if view not in encoded:
                            encoded[view] = system.encode(batch, view, seed_of(seed, "dev", stream, number))
                    torch.manual_seed(seed_of(seed, "dev", stream, number, name))
                    loss = objective(encoded, batch)
                    for metric, (total, weight) in {"loss": (loss.sum, loss.weight), **loss.metrics}.items():
                        sums[name][metric][0] += float(total)
                        sums[name][metric][1] += float(weight)
    system.train()
    sums = _summed(group.exchange({name: dict(found) for name, found in sums.items()}))
    losses = {name: _ratio(found.pop("loss")) for name, found in sums.items()}
    metrics = {name: {metric: _ratio(pair) for metric, pair in found.items()} for name, found in sums.items()}
    return losses, metrics


def selection_score(losses: Mapping[str, float], metrics: Mapping[str, Mapping[str, float]], upper: Iterable[str], how: str) -> float:
    """What chooses the best epochs, smaller is better: the mean of the upper objectives' metric `error`, or of their losses.

    `error` is a share in all of them, so that they may be averaged: token errors of the best path under CTC, of teacher forcing under an
    attention decoder, wrong languages under langid. Where no objective has one, and under `how == "loss"`, losses count, of objectives
    that have a target in the dev sets.
    """
    upper = [name for name in upper if name in losses]
    errors = [metrics[name]["error"] for name in upper if "error" in metrics[name]]
    values = errors if how == "dev" and errors else [losses[name] for name in upper if not math.isnan(losses[name])]
    return sum(values) / len(values) if values else math.nan


def _summed(shares: Iterable[Mapping[str, Mapping[str, list[float]]]]) -> dict[str, dict[str, list[float]]]:
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
    for share in shares:
        for name, found in share.items():
            for metric, (total, weight) in found.items():
                sums[name][metric][0] += total
                sums[name][metric][1] += weight
    return sums


def _ratio(pair: list[float]) -> float:
    total, weight = pair
    return total / weight if weight else math.nan
