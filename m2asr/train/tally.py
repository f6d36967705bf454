"""Sums of a step: losses, metrics and seconds, over batches and processes, with one read of the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from m2asr.data.batch import Batch
from m2asr.moo.collectives import Collectives
from m2asr.objectives.objective import Loss, Metric, Objective

LOSS = "loss"
Pair = tuple[float | np.ndarray, float]


class Tally:
    """Sums over the batches of a step: of every objective its loss and metrics, some of them vectors, with their weights, and the seconds.

    Numbers that are known on the host are added at once; those of the device wait until `read`.
    """

    def __init__(self, objectives: Mapping[str, Objective], group: Collectives) -> None:
        self._columns: dict[tuple[str, str], slice] = {}  # of the sums; the weight comes after them
        self._vectors = {(name, metric) for name, objective in objectives.items() for metric in objective.widths}
        end = 0
        for name, objective in objectives.items():
            for metric in (LOSS, *objective.metrics):
                width = objective.widths.get(metric, 1)
                self._columns[name, metric], end = slice(end, end + width), end + width + 1
        self._new = np.zeros(end + 1)  # of this process, since the last read; the last entry counts seconds
        self._waiting: list[tuple[slice, Tensor]] = []
        self._batches: list[tuple[str, Batch, Tensor]] = []
        self._sums = np.zeros_like(self._new)
        self.group = group
        self.problem: str | None = None  # a loss that is not finite

    def count(self, name: str, metrics: Mapping[str, Metric]) -> None:
        """Add metrics of one batch."""
        for metric, (value, weight) in metrics.items():
            columns = self._columns[name, metric]
            self._new[columns.stop] += weight
            if isinstance(value, Tensor):
                self._waiting.append((columns, value))
            else:
                self._new[columns] += value

    def add(self, name: str, batch: Batch, loss: Loss) -> None:
        """Add the loss of one batch, and the metrics that came with it."""
        total = loss.sum.detach()
        self.count(name, {LOSS: (total, batch.shares[name].weight), **loss.metrics})
        self._batches.append((name, batch, total))

    def add_seconds(self, seconds: float) -> None:
        """Add seconds that went through the encoder, without padding."""
        self._new[-1] += seconds

    def read(self, also: Tensor) -> Tensor:
        """Add the numbers that wait on the device, sum over processes, and return the sum of `also` (...), float64, on the host."""
        waiting = [value.double().flatten() for _, value in self._waiting]
        numbers = torch.cat([also.flatten(), *waiting]).cpu()  # the wait for the device
        sizes = [columns.stop - columns.start for columns, _ in self._waiting]
        for (columns, _), values in zip(self._waiting, numbers[also.numel() :].split(sizes), strict=True):
            self._new[columns] += values.numpy()
        new = torch.from_numpy(self._new)
        total = self.group.all_reduce(torch.cat([numbers[: also.numel()], new]))
        sums = total[also.numel() :].numpy()
        if not np.isfinite(sums).all():
            self._name_problem()
        self._sums += sums
        self._new[:], self._waiting, self._batches = 0.0, [], []
        return total[: also.numel()].view(also.shape)

    @property
    def seconds(self) -> float:
        return float(self._sums[-1])

    def losses(self) -> dict[str, Pair]:
        """Loss sums and weights of the objectives that were computed."""
        return {name: (float(total), weight) for (name, metric), (total, weight) in self._pairs().items() if metric == LOSS and weight}

    def metrics(self) -> dict[str, dict[str, Pair]]:
        """Sums and weights of metrics, by objective and metric."""
        metrics: dict[str, dict[str, Pair]] = {}
        for (name, metric), pair in self._pairs().items():
            if metric != LOSS and pair[1]:
                metrics.setdefault(name, {})[metric] = pair
        return metrics

    def _pairs(self) -> dict[tuple[str, str], Pair]:
        pairs = {}
        for key, columns in self._columns.items():
            values = self._sums[columns].copy()
            pairs[key] = (values if key in self._vectors else float(values[0]), float(self._sums[columns.stop]))
        return pairs

    def _name_problem(self) -> None:
        """Say which loss of which process is not finite: the first in the order of processes."""
        broken = [(name, batch, float(total)) for name, batch, total in self._batches if not torch.isfinite(total)]
        mine = [f"the loss of {name} is {value}; utterances: {' '.join(batch.utt_ids)}" for name, batch, value in broken[:1]]
        messages = [text for texts in self.group.exchange(mine) for text in texts]
        self.problem = self.problem or (messages[0] if messages else "a sum of losses is not finite")
