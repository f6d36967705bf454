"""Settings of the CPU for a process that trains or decodes: threads, and kernels that are remembered."""

from __future__ import annotations

import os

import torch

KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def prepare_cpu(threads: int) -> None:
    """Set the number of threads, 0 for this process's share of all cores; to be called before the first tensor is multiplied.

    One thread is the rule. Threads meet after every operation, and where another process has one of the cores the others wait there,
    spinning: two threads beside one busy process fall to a small part of the speed of a single one, which a busy process hardly
    slows down. Several runs side by side, each with a thread, use all cores.

    oneDNN prepares a kernel for every shape of a multiplication, and by default remembers 1024. Batches of speech have more; a kernel takes
    some 0.3 MB, so there is a limit.
    """
    os.environ.setdefault(KERNELS, "4096")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of this run on this machine
    torch.set_num_threads(threads or max(1, torch.get_num_threads() // here))
