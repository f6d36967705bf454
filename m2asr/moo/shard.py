"""The part of every gradient that a process sums and merges."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from m2asr.moo.collectives import Collectives
from m2asr.moo.layout import Layout


class Shard:
    """The columns of vectors (P,) that this process sums and merges; each process has an equal part of them.

    A vector is made complete again at the end (ZeRO's reduce-scatter and all-gather,
    Rajbhandari et al. 2020). So N vectors cost (N + 1) P elements of traffic instead of the 2 N P of N all-reduces.
    """

    def __init__(self, layout: Layout, group: Collectives) -> None:
        self.layout, self.group = layout, group
        self.columns = group.part(layout.columns)

    def of(self, vector: Tensor) -> Tensor:
        """The part (P / world,) of a vector (P,); a view."""
        return vector[self.columns]

    def zero_others(self, vector: Tensor) -> None:
        """Set to 0 the columns that other processes count."""
        vector[: self.columns.start].zero_()
        vector[self.columns.stop :].zero_()

    def within(self, columns: slice) -> slice:
        """Where columns of the whole vector lie in the part."""
        start, stop, _ = columns.indices(self.layout.columns)
        low, high = self.columns.start, self.columns.stop
        return slice(min(max(start, low), high) - low, min(max(stop, low), high) - low)

    def gathered(self, part: Tensor) -> Tensor:
        """A copy (size,) of the vector of which every process holds its `part`; the same for every number of processes."""
        vector = part.new_empty(self.layout.columns)
        vector[self.columns] = part
        self.group.all_gather(vector)
        self.group.wait()
        return vector[: self.layout.size].clone()

    def part_of(self, vector: Tensor) -> Tensor:
        """This process's part of what `gathered` made."""
        return F.pad(vector, (0, self.layout.columns - self.layout.size))[self.columns]
