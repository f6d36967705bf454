"""What every objective is: a head, a loss and its metrics on one stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from m2asr.data.batch import Batch
from m2asr.models.encoded import Encoded
from m2asr.objectives.view import View


@dataclass
class Loss:
    """The outcome of an objective on one batch: a loss SUM and the weight it is to be divided by.

    The trainer divides by the weight summed over micro-batches, so that k micro-batches equal one big batch. A batch without
    anything to learn from gives a zero that hangs on the graph and weight 0. `metrics` holds (sum, weight) pairs.
    """

    sum: Tensor  # ()
    weight: float
    metrics: dict[str, tuple[float | Tensor, float]] = field(default_factory=dict)


class Objective(nn.Module):
    """A named loss with its own head; subclasses state the views they read and implement `weight` and `forward`."""

    self_supervised = False  # its head trains with the `ssl` rate and sees unscaled gradients
    tap = "output"  # of the encoder, the states that it reads
    coupled = False  # True where the loss is not additive over the batch (negatives from the batch)

    def __init__(self) -> None:
        super().__init__()
        self.views: tuple[View, ...] = (View(),)
        self.target: str | None = None  # key of Batch.targets, where the objective has one

    @property
    def reads(self) -> tuple[tuple[View, ...], str]:
        """Which states of a batch it reads: the views and the tap."""
        return self.views, self.tap

    def weight(self, batch: Batch, lengths: Tensor) -> float:
        """What the loss of this batch will be divided by, known before it is encoded; `lengths` (B,) in encoder states."""
        raise NotImplementedError

    def forward(self, encoded: Mapping[View, Encoded], batch: Batch) -> Loss:
        """The loss of one batch from its encoded views."""
        raise NotImplementedError


def full_precision(x: Tensor) -> Tensor:
    """Mixed precision ends where losses begin: half formats become float32, wider ones stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
