"""Training in several processes: the group that torchrun started, its collectives, and how its processes end together."""

from __future__ import annotations

import os
import sys
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from m2asr.errors import UserError
from m2asr.installation import explain
from m2asr.moo.collectives import Collectives
from m2asr.processes import end_with_parent
from m2asr.train.launch import launched

T = TypeVar("T")
PATIENCE = timedelta(hours=1)  # with a process that is late, such as one that builds an index; torchrun ends those that wait for a dead one


class ProcessGroup(Collectives):
    """The processes of torch's default group: gloo for what lies on the CPU, nccl for what lies on GPUs.

    `moved` counts the elements handed to each kind of collective. Raises UserError where another process has gone.
    """

    def __init__(self) -> None:
        self.rank, self.world, self.local = dist.get_rank(), dist.get_world_size(), _processes_here()
        self.moved: Counter[str] = Counter()
        self._pending: list[Callable[[], object]] = []
        self._received = torch.empty(0)

    def reduce_scatter(self, row: Tensor) -> None:
        self.moved["reduce_scatter"] += row.numel()
        share = row[self.part(len(row))]
        with _peers():
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
        with _peers():
            self._pending.append(dist.all_gather_into_tensor(row, row[self.part(len(row))], async_op=True).wait)

    def all_reduce(self, values: Tensor) -> Tensor:
        self.moved["all_reduce"] += values.numel()
        with _peers():
            dist.all_reduce(values)
        return values

    def sum_gradients(self, params: Sequence[Parameter]) -> None:
        params = [param for param in params if param.requires_grad]
        if not params:
            return
        flat = flat_gradients(params)
        self.moved["all_reduce"] += flat.numel()
        with _peers():
            work = dist.all_reduce(flat, async_op=True)
        self._pending.append(lambda: (work.wait(), put_back(params, flat)))

    def broadcast(self, values: Tensor) -> Tensor:
        self.moved["broadcast"] += values.numel()
        with _peers():
            dist.broadcast(values, src=0)
        return values

    def exchange(self, value: T) -> list[T]:
        values: list[T] = [value] * self.world
        with _peers():
            dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        pending, self._pending = self._pending, []
        with _peers():
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
    """The gradients of parameters in one vector, 0 where there are none, behind a number for each that tells whether it has one."""
    present = params[0].new_tensor([param.grad is not None for param in params])
    return torch.cat([present, *((torch.zeros_like(param) if param.grad is None else param.grad).flatten() for param in params)])


def put_back(params: Sequence[Parameter], total: Tensor) -> None:
    """Take gradients from the sum of everyone's `flat_gradients`; a parameter that has none anywhere keeps none."""
    present, *sums = total.split([len(params), *(param.numel() for param in params)])
    for param, is_present, gradient in zip(params, present.tolist(), sums, strict=True):
        if is_present and param.grad is None:
            param.grad = gradient.view_as(param).clone()
        elif is_present:
            param.grad.copy_(gradient.view_as(param))


@contextmanager
def joined(gpu: bool) -> Iterator[Collectives]:
    """The group of processes that torchrun started, or the single process where it did not.

    Each takes the GPU of its local number. Only process 0 writes to standard output. Where one
    fails, only the first to do so says why; the others end as well.
    """
    if gpu:
        check_gpus(_processes_here())
    if not launched():
        yield Collectives()
        return
    end_with_parent()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with _peers():
        store, rank, world = _meet()
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    group = _group(gpu)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(sys.stdout if group.rank == 0 else nowhere):
        try:
            yield group
            group.exchange(None)  # nobody leaves while process 0 still writes
        except UserError as error:
            if _first_to_fail():
                print(f"error: {error}", file=sys.stderr)
            _leave(error.exit_code)
        except KeyboardInterrupt:  # passed on by the process that started this one, which tells of it
            _leave(130)
        except Exception as error:
            first = _first_to_fail()
            if line := explain(error):
                print(f"error: {line}" * first, file=sys.stderr)
            else:
                traceback.print_exc()
            _leave(1)
    dist.destroy_process_group()


def _group(gpu: bool) -> ProcessGroup:
    """On CPUs of one machine the processes share memory, where there is room; else they exchange messages."""
    from m2asr.train.shared_memory import SharedMemory, usable

    here = dist.get_world_size() == _processes_here()
    return SharedMemory() if not gpu and here and usable() else ProcessGroup()


def _leave(code: int) -> NoReturn:
    """End at once: gloo's threads may wait for other processes, and abort where Python cleans up first."""
    with suppress(OSError):  # nobody reads any more
        sys.stdout.flush()
    os._exit(code)


def _meet() -> tuple[dist.Store, int, int]:
    """A store that holds nothing yet, the number of this process and how many there are.

    After a restart torchrun's store still knows the addresses of the processes before, and gloo would wait for them (pytorch issue 135712).
    So process 0 makes up a name for this start, and gives it to all that answer; an answer says which question it belongs to.
    """
    store, rank, world = next(dist.rendezvous("env://", timeout=PATIENCE))
    mine = uuid.uuid4().hex
    if rank > 0:
        store.set(f"start/{rank}", mine)
        name = store.get(f"start/{mine}").decode()
        store.set(f"start/{name}/{rank}", "")
        return dist.PrefixStore(name, store), rank, world
    missing = set(range(1, world))
    while missing:
        for peer in sorted(missing):
            if store.check([f"start/{mine}/{peer}"]):
                missing.remove(peer)
            elif store.check([f"start/{peer}"]):  # perhaps of the process before, which will not answer
                store.set("start/" + store.get(f"start/{peer}").decode(), mine)
        time.sleep(0.01)
    return dist.PrefixStore(mine, store), rank, world


def check_gpus(count: int) -> None:
    """Raises UserError if fewer GPUs are visible than this machine's processes need."""
    visible = torch.cuda.device_count()
    if count > visible:
        raise UserError(f"--ngpu {count}: {visible or 'no'} GPU is visible here; give fewer, or --ngpu 0 to train on the CPU", exit_code=2)


def _processes_here() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _first_to_fail() -> bool:
    try:
        return dist.distributed_c10d._get_default_store().add("failed", 1) == 1
    except RuntimeError:  # the store has gone with torchrun or with the machine that held it
        return True


@contextmanager
def _peers() -> Iterator[None]:
    """Errors of the network as the message that a user can act on."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        message = f"another process of this run has gone, so this one ends ({reason}); run the same command again to go on"
        raise UserError(message) from None
