"""Training in several processes: how they meet, and how they end together."""

from __future__ import annotations

import os
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import NoReturn

import torch
import torch.distributed as dist

from m2asr.errors import UserError
from m2asr.installation import explain
from m2asr.moo.collectives import Collectives
from m2asr.processes import end_with_parent
from m2asr.train.launch import launched
from m2asr.train.process_group import PATIENCE, ProcessGroup, processes_here, reporting_lost_peers
from m2asr.train.shared_memory import SharedMemory, usable


@contextmanager
def joined(gpu: bool) -> Iterator[Collectives]:
    """The group of processes that torchrun started, or the single process where it did not.

    Each takes the GPU of its local number. Only process 0 writes to standard output. Where one
    fails, only the first to do so says why; the others end as well.
    """
    if gpu:
        check_gpus(processes_here())
    if not launched():
        yield Collectives()
        return
    end_with_parent()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with reporting_lost_peers():
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
    """The group of this run: processes on the CPUs of one machine share memory, where there is room; others exchange messages."""
    here = dist.get_world_size() == processes_here()
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
        raise UserError(f"--ngpu {count}: {visible or 'no'} GPU is visible here; give fewer, or --ngpu 0 to use the CPU", exit_code=2)


def _first_to_fail() -> bool:
    try:
        return dist.distributed_c10d._get_default_store().add("failed", 1) == 1
    except RuntimeError:  # the store has gone with torchrun or with the machine that held it
        return True
