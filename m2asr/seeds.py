"""Seeds by purpose: each use of random numbers has its own seed, so uses do not affect each other and a resumed run repeats them."""

from __future__ import annotations

import hashlib

import torch


def seed_of(*keys: object) -> int:
    """A 63-bit seed from keys that name the use of the random numbers, for example (seed, step, stream, draw, micro-batch)."""
    digest = hashlib.blake2b("/".join(map(str, keys)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def seed_torch(*keys: object) -> None:
    """Seed torch's random numbers from keys, on the CPU and, where they are in use, on the GPUs.

    torch.manual_seed does the same, but it stores the call stack for every kind of device that is missing: 0.4 ms, often in every step.
    """
    seed = seed_of(*keys)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
