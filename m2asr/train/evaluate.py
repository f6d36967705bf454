"""Losses and metrics on the development sets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from m2asr.data.batch import Batch
from m2asr.moo.collectives import Collectives
from m2asr.objectives.objective import Metric, mean
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.out_of_memory import describe, explained
from m2asr.seeds import seed_torch
from m2asr.train.precision import autocast


def evaluate(
    system: System,
    batches: Mapping[str, Iterable[Batch]],
    streams: Mapping[str, str],
    dtype: torch.dtype,
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
            for batch in _in_step(stream_batches, group) if system.spread_names else stream_batches:
                with explained(lambda batch=batch: f"the dev sets: {describe([batch] if batch else [])}", "lower batching.seconds"):
                    for name, metrics in _measure(system, names, None if batch is None else system.prepare(batch, names).to(device)):
                        for metric, (total, weight) in metrics.items():
                            sums[name][metric][0] = sums[name][metric][0] + _on_host(total)
                            sums[name][metric][1] += float(weight)
    system.train()
    sums = _summed(group.exchange({name: dict(metrics) for name, metrics in sums.items()}))
    losses = {name: mean(*pairs.pop("loss")) for name, pairs in sums.items()}
    metrics = {name: {metric: mean(*pair) for metric, pair in pairs.items()} for name, pairs in sums.items()}
    return losses, metrics


def _in_step(batches: Iterable[Batch], group: Collectives) -> Iterator[Batch | None]:
    """The batches, then None while another process still has batches, for which it needs the experts of this one."""
    remaining = iter(batches)
    while True:
        batch = next(remaining, None)
        if not group.all_reduce(torch.tensor([float(batch is not None)])).item():
            return
        yield batch


def _measure(system: System, names: Sequence[str], batch: Batch | None) -> Iterator[tuple[str, dict[str, Metric]]]:
    """The loss and metrics of every objective on one prepared batch; without one the experts of this process serve the others."""
    taps: dict[View, set[str]] = defaultdict(set)
    for view, tap in (pair for name in names for pair in system.objectives[name].reads):
        taps[view].add(tap)
    encoded = {view: system.encode(system.blank([view]) if batch is None else batch, view, read) for view, read in taps.items()}
    for name in names if batch is not None else ():
        share, objective, loss = batch.shares[name], system.objectives[name], None
        yield name, {"loss": (0.0, 0.0), **share.metrics}
        if share.weight > 0:
            seed_torch(*batch.key, name)
            loss = objective(encoded, share)
            yield name, {"loss": (loss.sum, share.weight), **loss.metrics}
        yield name, objective.dev_metrics(encoded, batch, loss)


def selection_score(
    losses: Mapping[str, float], metrics: Mapping[str, Mapping[str, float]], chosen: Iterable[str], how: str | Sequence[str]
) -> float:
    """The score that chooses the best epochs, the smallest: the mean of the metric `error` of chosen objectives, or of their losses.

    `error` is a share in all of them, so that they may be averaged: token errors of the best path under CTC, of teacher forcing under an
    attention decoder, wrong languages under langid. Where no objective has an error, and under `how == "loss"`, losses count: those of
    the objectives that have a target in the dev sets.
    """
    chosen = [name for name in chosen if name in losses]
    errors = [metrics[name]["error"] for name in chosen if not math.isnan(metrics[name].get("error", math.nan))]
    values = errors if how not in ("loss", "last") and errors else [losses[name] for name in chosen if not math.isnan(losses[name])]
    return sum(values) / len(values) if values else math.nan


def _summed(shares: Iterable[Mapping[str, Mapping[str, list[float]]]]) -> dict[str, dict[str, list[float]]]:
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
    for share in shares:
        for name, pairs in share.items():
            for metric, (total, weight) in pairs.items():
                sums[name][metric][0] = sums[name][metric][0] + total
                sums[name][metric][1] += weight
    return sums


def _on_host(value: float | Tensor) -> float | np.ndarray:
    if isinstance(value, Tensor) and value.dim():
        return value.double().cpu().numpy()
    return float(value)
