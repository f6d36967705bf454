"""The base class of objectives: a head, a loss and its metrics on one stream."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share
from m2asr.models.encoded import Encoded
from m2asr.objectives.view import View

Read = tuple[View, str]  # the states that an objective reads: how the batch is encoded, and at which tap
Metric = tuple[float | Tensor, float]  # a sum, or a vector of sums, and its divisor


@dataclass
class Loss:
    """The loss SUM of an objective on one batch, and metrics that were computed with it.

    The trainer divides the sum by the weight of the objective's `Share`, summed over micro-batches and processes. So k micro-batches equal
    one big batch.
    """

    sum: Tensor  # ()
    metrics: dict[str, Metric] = field(default_factory=dict)


class Objective(nn.Module):
    """A named loss with its own head; a subclass lists the states that it reads and implements `share` and `forward`.

    Attributes:
        reads: the states that it reads; the encoder returns no others.
        target: the key of its target in Batch.targets, or None.
        runs: names of the system's modules that it calls in `forward`.
        labelled_by: names of those that it calls without gradient, for its labels.
        metrics: names of the metrics that `share` and `forward` return in training.
        widths: numbers of values of those that are vectors.
    """

    self_supervised = False  # its head trains with the `ssl` rate
    compares = False  # True if the loss of an utterance depends on the other ones in the batch: processes do not divide its batches
    metrics: tuple[str, ...] = ()
    module_options: tuple[str, ...] = ()  # its options that name modules of the system

    def __init__(self, reads: Collection[Read] = ((View(), "output"),), target: str | None = None) -> None:
        super().__init__()
        self.reads, self.target = tuple(reads), target
        self.widths: dict[str, int] = {}
        self.runs: tuple[str, ...] = ()
        self.labelled_by: tuple[str, ...] = ()

    @property
    def views(self) -> tuple[View, ...]:
        """The views of a batch that it reads, each once."""
        return tuple(dict.fromkeys(view for view, _ in self.reads))

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        """Compute on the host, before encoding, what the objective learns from a batch; `batch.drawn` holds the views."""
        raise NotImplementedError

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        """The loss of one batch from its encoded views; it is called only if the weight of the share is above 0."""
        raise NotImplementedError

    def dev_metrics(self, encoded: Mapping[View, Encoded], batch: Batch, loss: Loss | None) -> dict[str, Metric]:
        """Further metrics on dev sets: `error`, an error rate over all utterances with a target, also those without a loss."""
        return {}

    def restart(self) -> None:  # noqa: B027 - most objectives keep nothing
        """Called when a phase that trains it begins, with the present weights of the modules."""

    def after_step(self) -> None:  # noqa: B027
        """Called when a step of a phase that trains it was applied."""

    def warning(self, metrics: Mapping[str, float]) -> str | None:
        """One line for the user if its mean metrics between two lines of the log are bad."""
        return None


def mean(total: float | np.ndarray, weight: float) -> float | list[float]:
    """A sum, or a vector of sums, over its weight; nan where that is 0."""
    if isinstance(total, np.ndarray):
        return (total / (weight or math.nan)).tolist()
    return total / weight if weight else math.nan


def select_rows(states: Tensor, tensors: Mapping[str, Any]) -> Tensor:
    """The rows (R, ...) of states (B, ...) that the tensors of a share select; all rows if they select none."""
    return states[tensors["rows"]] if "rows" in tensors else states


def row_selection(usable: np.ndarray) -> dict[str, Tensor]:
    """The tensors of a share for `select_rows`: the indices of the rows that are `usable` (B,); nothing if all rows are."""
    return {} if usable.all() else {"rows": torch.from_numpy(np.flatnonzero(usable))}
