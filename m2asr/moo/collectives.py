"""What the processes that train one system together tell each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor
from torch.nn import Parameter

T = TypeVar("T")


class Collectives:
    """The single process: sums of one, nothing sent and nothing copied. Subclasses join several.

    All processes call the same methods in the same order. `rank` is the number of this process, from 0, of `world`, `local` of which
    are on this machine.
    """

    rank, world, local = 0, 1, 1

    def reduce_scatter(self, row: Tensor, empty: bool = False) -> None:
        """Begin to sum a vector over processes, of a length that `world` divides: this one's `part` of it holds the sum after `wait`.

        `empty` tells that this process has zeros only, which then need not be sent.
        """

    def all_gather(self, row: Tensor) -> None:
        """Begin to fill a vector with everyone's `part` of it; it is whole after `wait`."""

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over processes, in place."""
        return values

    def sum_gradients(self, params: Sequence[Parameter]) -> None:
        """Begin to sum the .grad of parameters; they hold it after `wait`. One that has none on any process keeps none."""

    def broadcast(self, values: Tensor) -> Tensor:
        """What process 0 holds, in place."""
        return values

    def exchange(self, value: T) -> list[T]:
        """Everyone's value, small and plain, in the order of ranks."""
        return [value]

    def exchange_rows(self, rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """Rows (N, ...) that others sent to this process, in the order of ranks, for its own, of which the first `sent[0]` go to process 0,
        and so on; `received[r]` come from process r."""
        return rows

    def wait(self) -> None:
        """Until what was begun is done."""

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Process 0 runs the block before the others, which then find what it made."""
        yield

    def part(self, size: int) -> slice:
        """This process's equal part of a vector."""
        return slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
