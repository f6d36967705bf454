"""Random numbers keyed by what they are for, so that nothing shifts another's and a resumed run goes on exactly."""

from __future__ import annotations

import hashlib


def seed_of(*parts: object) -> int:
    """A 63-bit seed from the parts that name a use, for example (seed, step, stream, draw, micro-batch)."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
