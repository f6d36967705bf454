from __future__ import annotations

import subprocess
import sys

import pytest

STEPS = """
import ctypes, resource, sys
from m2asr.train.memory import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "keep":
    keep_freed_memory()

def step():
    blocks = [libc.malloc(20 << 20) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, 20 << 20)
    for block in blocks:
        libc.free(block)

step()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library is glibc on Linux only")
def test_a_step_uses_the_memory_of_the_one_before() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "give back")
    }
    assert 2 * faults["keep"] < faults["give back"]  # 80 MB are 20480 pages, or 40 where the system takes large ones


KEPT = """
import ctypes
from m2asr.train.memory import free_bytes, keep_freed_memory
import torch
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))

keep_freed_memory()
before = held()
blocks = [libc.malloc(20 << 20) for _ in range(10)]
for block in blocks:
    ctypes.memset(block, 1, 20 << 20)
for block in blocks:
    libc.free(block)
kept = held() - before
free_bytes(torch.device("cpu"))
print(kept, held() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library is glibc on Linux only")
def test_what_is_kept_counts_as_free() -> None:
    """Where a phase ends, the next one may need it all."""
    out = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True).stdout
    kept, left = map(int, out.split())
    assert kept > 150_000 and left < 20_000  # kB of 200 MB
