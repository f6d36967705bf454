"""The exchange of numbers between the processes that train one system together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor
from torch.nn import Parameter

T = TypeVar("T")


class Collectives:
    """A run with a single process: a sum has one summand, and nothing is sent or copied. Subclasses join several processes.

    All processes call the same methods in the same order. `rank` is the number of this process, from 0, of `world`, `local` of which
    are on this machine.
    """

    rank, world, local = 0, 1, 1

    def reduce_scatter(self, row: Tensor, empty: bool = False) -> None:
        """Begin to sum a vector, of a length that `world` divides, over processes; after `wait` the `part` of this process holds the sum.

        `empty` tells that this process has zeros only, which then need not be sent.
        """

    def all_gather(self, row: Tensor) -> None:
        """Begin to fill a vector with the `part` of every process; it is complete after `wait`."""

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over processes, in place."""
        return values

    def sum_gradients(self, params: Sequence[Parameter]) -> None:
        """Begin to sum the .grad of parameters; they hold it after `wait`. One that has none on any process keeps none."""

    def broadcast(self, values: Tensor) -> Tensor:
        """Replace the values, in place, by those of process 0; returns them."""
        return values

    def exchange(self, value: T) -> list[T]:
        """The values of all processes in the order of ranks; a value is small and plain."""
        return [value]

    def exchange_rows(self, rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """Send rows (M, ...) to the processes, and return the rows (N, ...) that they sent to this process, in the order of ranks.

        The first `sent[0]` rows go to process 0, the next `sent[1]` to process 1, and so on; `received[r]` rows come from process r.
        """
        return rows

    def wait(self) -> None:
        """Wait until all operations that were begun have ended."""

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let process 0 run the block before the others, which can then use what it has made."""
        yield

    def part(self, size: int) -> slice:
        """This process's equal part of a vector."""
        return slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
