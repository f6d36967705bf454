"""Seeds by purpose: each use of random numbers has its own seed, so uses do not affect each other and a resumed run repeats them."""

from __future__ import annotations

import hashlib


def seed_of(*keys: object) -> int:
    """A 63-bit seed from keys that name the use of the random numbers, for example (seed, step, stream, draw, micro-batch)."""
    digest = hashlib.blake2b("/".join(map(str, keys)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
