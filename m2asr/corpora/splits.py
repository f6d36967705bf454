"""Splits items into train, dev and test so that these share no prompt and no sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def split_groups(links: Iterable[Iterable[str]], train: int, dev: int) -> dict[str, str]:
    """Assign each item to train, dev or test, such that linked items stay together.

    `links` lists items that belong together: each becomes one edge of a union-find forest. A group's split follows from md5 of its
    smallest item modulo 100: below `train`, below `dev`, or else test; so it does not depend on the order of the input.
    """
    parent: dict[str, str] = {}

    def find(item: str) -> str:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for link in links:
        roots = sorted({find(item) for item in link})
        for root in roots[1:]:
            parent[root] = roots[0]  # the smallest stays the root, so it is the group's key
    splits = {}
    for item in parent:
        percentile = int(hashlib.md5(find(item).encode(), usedforsecurity=False).hexdigest(), 16) % 100
        splits[item] = "train" if percentile < train else "dev" if percentile < dev else "test"
    return splits
