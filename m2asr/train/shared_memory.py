"""Collectives through memory that the processes of one machine share: no sockets, no threads of their own, no copies in between."""

from __future__ import annotations

import mmap
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from m2asr.errors import UserError
from m2asr.train.process_group import PATIENCE, ProcessGroup, flat_gradients, put_back

FOLDER = Path("/dev/shm")  # noqa: S108 - a file system in memory
LINE = 64  # bytes of a cache line
FLAG = LINE // 8  # int64 entries between the counters of two processes: a cache line each
SMALL = 1 << 13  # bytes for what is summed at once
ROOM = 1 << 30  # bytes; a container may have as little as 64 MB
SPINS = 200  # looks at the others' counters before this process sleeps between two looks
SLEEP = 2e-5  # seconds


def usable() -> bool:
    """Whether this machine has memory to share, with room for the gradients of a training."""
    return FOLDER.is_dir() and os.access(FOLDER, os.W_OK) and shutil.disk_usage(FOLDER).free > ROOM


class SharedMemory(ProcessGroup):
    """The processes of torch's default group where all are on one machine's CPUs: they exchange numbers through a file in memory.

    Every process writes into its own slot, and reads all slots when all processes have written. Sums are in the order of ranks, so that all
    processes get the same bits. There are two sets of slots, used in turn, so that no process overwrites what others still read. Rare or
    large values, such as messages, go through torch's group.
    """

    def __init__(self) -> None:
        super().__init__()
        self._small_turn = 0
        self._steps = 0  # how often this process has met the others
        self._rows_turn = 0
        self._sent: list[tuple[Tensor, Callable[[list[Tensor | None]], None]]] = []
        self._flags = np.frombuffer(self._map(8 * FLAG * self.world), dtype=np.int64)[::FLAG]
        self._small = np.frombuffer(self._map(2 * SMALL * self.world), dtype=np.uint8).reshape(2, self.world, SMALL)
        self._rows = np.zeros((2, self.world, 0), dtype=np.uint8)

    def reduce_scatter(self, row: Tensor, empty: bool = False) -> None:
        self.moved["reduce_scatter"] += row.numel()
        part = self.part(len(row))

        def put(rows: list[Tensor | None]) -> None:
            sent = [row[part] if rank == self.rank else values[part] for rank, values in enumerate(rows) if values is not None]
            if sent:
                row[part] = sent[0] if len(sent) == 1 else torch.stack(sent).sum(0)

        self._send(row, put, () if empty else (slice(0, part.start), slice(part.stop, len(row))))

    def all_gather(self, row: Tensor) -> None:
        self.wait()
        self.moved["all_gather"] += row.numel()

        def put(rows: list[Tensor | None]) -> None:
            for rank, sent in enumerate(rows):
                part = slice(rank * len(row) // self.world, (rank + 1) * len(row) // self.world)
                if rank != self.rank:
                    row[part] = sent[part]

        self._send(row, put, (self.part(len(row)),))

    def sum_gradients(self, params: Sequence[Parameter]) -> None:
        params = [param for param in params if param.requires_grad]
        if not params:
            return
        flat = flat_gradients(params)
        self.moved["all_reduce"] += flat.numel()
        self._send(flat, lambda vectors: put_back(params, torch.stack(vectors).sum(0)))

    def all_reduce(self, values: Tensor) -> Tensor:
        if values.nbytes > SMALL:
            return super().all_reduce(values)
        self.moved["all_reduce"] += values.numel()
        return values.copy_(torch.stack(self._exchanged(values)).sum(0).view_as(values))

    def broadcast(self, values: Tensor) -> Tensor:
        if values.nbytes > SMALL:
            return super().broadcast(values)
        self.moved["broadcast"] += values.numel()
        return values.copy_(self._exchanged(values)[0].view_as(values))

    def wait(self) -> None:
        super().wait()
        sent, self._sent = self._sent, []
        if not sent:
            return
        self._meet()
        slots, start = self._rows[self._rows_turn], 0
        for values, put in sent:
            written = [_tensor(slot[start + LINE : start + LINE + values.nbytes], values) if slot[start] else None for slot in slots]
            put(written)
            start += _room(values)
        self._rows_turn = 1 - self._rows_turn

    def _send(self, values: Tensor, put: Callable[[list[Tensor | None]], None], columns: Sequence[slice] = (slice(None),)) -> None:
        """Write columns of flat values for the others.

        `put` takes the values of all processes once they have met, None from a process that wrote no columns.
        """
        start = sum(_room(earlier) for earlier, _ in self._sent)
        size = start + _room(values)
        if size > self._rows.shape[2]:  # all processes find this at the same time, since all send the same
            rows = np.frombuffer(self._map(2 * self.world * size), dtype=np.uint8).reshape(2, self.world, size)
            rows[self._rows_turn, self.rank, :start] = self._rows[self._rows_turn, self.rank, :start]
            self._rows = rows
        slot = self._rows[self._rows_turn, self.rank, start:size]
        slot[0], written = bool(columns), _tensor(slot[LINE : LINE + values.nbytes], values)
        for column in columns:
            written[column] = values.detach()[column]
        self._sent.append((values, put))

    def _exchanged(self, values: Tensor) -> list[Tensor]:
        """The flat values of all processes in the order of ranks; they stay valid until the next exchange but one."""
        slots = self._small[self._small_turn]
        self._small_turn = 1 - self._small_turn
        _tensor(slots[self.rank, : values.nbytes], values).copy_(values.flatten())
        self._meet()
        return [_tensor(slot[: values.nbytes], values) for slot in slots]

    def _meet(self) -> None:
        """Wait until all processes have come here as often as this one."""
        self._steps += 1
        self._flags[self.rank] = self._steps
        deadline, looks = time.monotonic() + PATIENCE.total_seconds(), 0
        while self._flags.min() < self._steps:
            looks += 1
            if looks < SPINS:
                os.sched_yield()
                continue
            time.sleep(SLEEP)
            if looks % 10_000 == 0 and time.monotonic() > deadline:
                raise UserError("another process of this run does not answer, so this one ends; run the same command again to go on")

    def _map(self, size: int) -> mmap.mmap:
        """Memory of `size` bytes that all processes see; its file has no name any more, and is gone with the last of them."""
        path = FOLDER / self.exchange(f"m2asr-{uuid.uuid4().hex}")[0]
        if self.rank == 0:
            with open(path, "xb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        self.exchange(None)
        with open(path, "r+b") as file:
            memory = mmap.mmap(file.fileno(), size)
        self.exchange(None)
        if self.rank == 0:
            path.unlink()
        return memory


def _room(values: Tensor) -> int:
    """Bytes for values behind a line that tells whether there are any, so that what follows begins where numbers of any type may."""
    return LINE - (-values.nbytes // LINE) * LINE


def _tensor(memory: np.ndarray, like: Tensor) -> Tensor:
    """Bytes as a flat tensor of the type of `like`."""
    return torch.from_numpy(memory).view(like.dtype)
