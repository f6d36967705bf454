"""What every objective is: a head, a loss and its metrics on one stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share
from m2asr.models.encoded import Encoded
from m2asr.objectives.view import View

Read = tuple[View, str]  # states: how the batch is encoded, and at which tap
Metric = tuple[float | Tensor, float]  # a sum and what it is to be divided by


@dataclass
class Loss:
    """The loss SUM of an objective on one batch, and metrics that the loss was computed with.

    The trainer divides the sum by the weight of the objective's `Share`, summed over micro-batches and processes, so that k micro-batches
    equal one big batch.
    """

    sum: Tensor  # ()
    metrics: dict[str, Metric] = field(default_factory=dict)


class Objective(nn.Module):
    """A named loss with its own head; subclasses say what they read, and implement `share` and `forward`.

    Attributes:
        reads: the states that it reads; nothing else of what is encoded is kept.
        target: the key of Batch.targets, where it has one.
        runs: names of modules of the system that it calls in `forward`.
        metrics: names of what `share` and `forward` count while training.
    """

    self_supervised = False  # its head trains with the `ssl` rate
    coupled = False  # True where the loss is not a sum over micro-batches: such a config is refused where a step has several
    compares = False  # True where the loss of an utterance depends on those beside it: processes do not divide its batches
    metrics: tuple[str, ...] = ()

    def __init__(self, reads: Collection[Read] = ((View(), "output"),), target: str | None = None) -> None:
        super().__init__()
        self.reads, self.target = tuple(reads), target
        self.runs: tuple[str, ...] = ()

    @property
    def views(self) -> tuple[View, ...]:
        """The ways in which it wants a batch encoded."""
        return tuple(dict.fromkeys(view for view, _ in self.reads))

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        """What there is to learn from a batch, found on the host before anything is encoded; `batch.drawn` holds the views."""
        raise NotImplementedError

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        """The loss of one batch from its encoded views, where its share has a weight above 0."""
        raise NotImplementedError

    def dev_metrics(self, encoded: Mapping[View, Encoded], batch: Batch, loss: Loss | None) -> dict[str, Metric]:
        """What is told of dev sets besides: `error`, a share over all utterances that have a target, also those without a loss."""
        return {}


def full_precision(x: Tensor) -> Tensor:
    """Mixed precision ends where losses begin: half formats become float32, wider ones stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def chosen(states: Tensor, tensors: Mapping[str, Any]) -> Tensor:
    """The rows (R, ...) of states (B, ...) that a share names; all of them where it names none."""
    return states[tensors["rows"]] if "rows" in tensors else states


def rows_of(usable: np.ndarray) -> dict[str, Tensor]:
    """What a share holds for `chosen`: the rows that are usable (B,), nothing where all are."""
    return {} if usable.all() else {"rows": torch.from_numpy(np.flatnonzero(usable))}
