"""Measures the memory of a run, and checks that it fits."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from m2asr.errors import UserError
from m2asr.objectives.system import System

if TYPE_CHECKING:
    from m2asr.train.phase import Phase

CGROUP = Path("/sys/fs/cgroup")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, MOST = -1, -3, 32 << 20  # of glibc's mallopt; the most that the second may be


def peak_memory_gb(device: torch.device) -> float:
    """The most memory so far: of the device where it is a GPU, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, up to 32 MB in a piece, for its next step.

    By default glibc gives it back to the system, and every step gets its activations and gradients anew, page by page, each of which
    the system fills with zeros first. Other C libraries are left as they are, and so is glibc where the environment sets it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        mallopt(M_MMAP_THRESHOLD, MOST)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Give the memory that `keep_freed_memory` has kept so far back to the system."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def check_fit(phases: Sequence[Phase], system: System, processes: int = 1) -> None:
    """Raises UserError if the gradients and the optimizers' moments of some phases need more memory than is free.

    The phases hold their gradients at the same time; each has an optimizer. `processes` share a machine, and its memory, but not GPUs.
    """
    params, count, plural = list(system.parameters()), sum(phase.rows for phase in phases), "s" * (len(phases) > 1)
    names, gradients = " and ".join(phase.name for phase in phases), sum(phase.gradient_bytes for phase in phases)
    moments = len(phases) * sum(2 * param.numel() * param.element_size() for param in params)
    device = params[0].device
    free, sharing = free_bytes(device), processes if device.type == "cpu" else 1
    if free is not None and sharing * (gradients + moments) > free:
        raise UserError(
            f"phase{plural} {names}: {count} gradients of the backbone take {gradients / 2**30:.1f} GB and the "
            f"optimizer{plural} {moments / 2**30:.1f} GB{f', in each of {sharing} processes' if sharing > 1 else ''}, "
            f"but {free / 2**30:.1f} GB are free; take a weighting that keeps fewer (static 1, mgda and modo with `samples: 3` "
            "one per objective and a few, modo and moco two, `gradients: features` one per stream), or a smaller model"
        )


def check_model_fits(build: Callable[[], System]) -> None:
    """Raise UserError if the model that `build` makes takes more memory than is free; it is counted without taking any."""
    with torch.device("meta"):
        system = build()
    weights = [*system.parameters(), *system.buffers()]  # the mean that `teacher: ema` keeps is in buffers
    total = sum(weight.numel() * weight.element_size() for weight in weights)
    free = free_bytes(torch.device("cpu"))
    if free is not None and total > free:
        raise UserError(
            f"model: its parameters take {total / 2**30:,.1f} GB, but {free / 2**30:.1f} GB are free; lower dim, blocks or experts.count "
            "of `model`"
        )


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be taken, within the limits of a container; None where the system does not tell."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, of phases before
        return torch.cuda.mem_get_info(device)[0] + cached
    give_back_freed_memory()  # what the phase before held
    limits = []
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        limits.append(1024 * int(lines["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        pass
    try:
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        used = int((CGROUP / "memory.current").read_text()) - int(stat["inactive_file"])
        limits.append(int((CGROUP / "memory.max").read_text()) - used)
    except (OSError, KeyError, ValueError):  # no limit is the word max
        pass
    return min(limits, default=None)
