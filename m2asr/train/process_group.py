"""The processes that train one system together, and how they exchange numbers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from m2asr.errors import UserError
from m2asr.moo.collectives import Collectives

T = TypeVar("T")
PATIENCE = timedelta(hours=1)  # with a process that is late, such as one that builds an index; torchrun ends those that wait for a dead one


class ProcessGroup(Collectives):
    """The processes of torch's default group: gloo for what lies on the CPU, nccl for what lies on GPUs.

    `moved` counts the elements handed to each kind of collective. Raises UserError where another process has gone.
    """

    def __init__(self) -> None:
        self.rank, self.world, self.local = dist.get_rank(), dist.get_world_size(), processes_here()
        self.moved: Counter[str] = Counter()
        self._pending: list[Callable[[], object]] = []
        self._received = torch.empty(0)

    def reduce_scatter(self, row: Tensor, empty: bool = False) -> None:
        self.moved["reduce_scatter"] += row.numel()
        share = row[self.part(len(row))]
        with reporting_lost_peers():
            if row.is_cuda:
                self._pending.append(dist.reduce_scatter_tensor(share, row, async_op=True).wait)
                return
            # gloo's reduce-scatter is an all-reduce inside, twice the volume: send every process its part, and add up here
            self.wait()
            if self._received.shape != row.shape or self._received.dtype != row.dtype:
                self._received = torch.empty_like(row)
            received = self._received
            work = dist.all_to_all_single(received, row, async_op=True)
        self._pending.append(lambda: (work.wait(), torch.sum(received.view(self.world, -1), dim=0, out=share)))

    def all_gather(self, row: Tensor) -> None:
        self.wait()
        self.moved["all_gather"] += row.numel()
        with reporting_lost_peers():
            self._pending.append(dist.all_gather_into_tensor(row, row[self.part(len(row))], async_op=True).wait)

    def all_reduce(self, values: Tensor) -> Tensor:
        self.moved["all_reduce"] += values.numel()
        with reporting_lost_peers():
            dist.all_reduce(values)
        return values

    def sum_gradients(self, params: Sequence[Parameter]) -> None:
        params = [param for param in params if param.requires_grad]
        if not params:
            return
        flat = flat_gradients(params)
        self.moved["all_reduce"] += flat.numel()
        with reporting_lost_peers():
            work = dist.all_reduce(flat, async_op=True)
        self._pending.append(lambda: (work.wait(), put_back(params, flat)))

    def broadcast(self, values: Tensor) -> Tensor:
        self.moved["broadcast"] += values.numel()
        with reporting_lost_peers():
            dist.broadcast(values, src=0)
        return values

    def exchange(self, value: T) -> list[T]:
        values: list[T] = [value] * self.world
        with reporting_lost_peers():
            dist.all_gather_object(values, value)
        return values

    def exchange_rows(self, rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        rows = rows.contiguous()
        own = rows.shape[1:].numel() * sent[self.rank]
        self.moved["all_to_all"] += rows.numel() - own
        result = rows.new_empty(sum(received), *rows.shape[1:])
        with reporting_lost_peers():
            dist.all_to_all_single(result, rows, list(received), list(sent))
        return result

    def wait(self) -> None:
        pending, self._pending = self._pending, []
        with reporting_lost_peers():
            for finish in pending:
                finish()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        if self.rank > 0:
            self.exchange(None)
        yield
        if self.rank == 0:
            self.exchange(None)


def flat_gradients(params: Sequence[Parameter]) -> Tensor:
    """The gradients of K parameters in one vector (K + P,): K numbers tell which parameters have one; a missing gradient is 0."""
    present = params[0].new_tensor([param.grad is not None for param in params])
    return torch.cat([present, *((torch.zeros_like(param) if param.grad is None else param.grad).flatten() for param in params)])


def put_back(params: Sequence[Parameter], total: Tensor) -> None:
    """Set the gradients of parameters from `total`, the sum of all processes' `flat_gradients`; where no process has one, none is set."""
    present, *sums = total.split([len(params), *(param.numel() for param in params)])
    for param, is_present, gradient in zip(params, present.tolist(), sums, strict=True):
        if is_present and param.grad is None:
            param.grad = gradient.view_as(param).clone()
        elif is_present:
            param.grad.copy_(gradient.view_as(param))


def processes_here() -> int:
    """The processes of this run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def reporting_lost_peers() -> Iterator[None]:
    """Turn an error of the network in the block into a UserError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        message = f"another process of this run has gone, so this one ends ({reason}); run the same command again to go on"
        raise UserError(message) from None
