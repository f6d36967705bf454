"""Which utterances form the batches of an epoch: length buckets, language temperature, equal counts on every rank."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np


class Batches:
    """The batches of one stream, epoch after epoch: `epoch(e)` is a function of (seed, stream, e) alone.

    A bucket holds utterances of similar cost, and about the same total as every other bucket. The batches of a bucket have one size, the
    largest for which (utterances x highest cost) stays within the budget; so their number is known before anything is shuffled, and any
    batch of any epoch is found by shuffling one bucket. An utterance above the budget is a batch of its own.

    With language temperature T a language of n utterances gets a share of the epoch proportional to n^(1/T). Every (bucket, language) cell
    walks through shuffled passes over its utterances and continues in the next epoch where it stopped: a small language repeats whole
    passes, a large one rotates, and nothing is left out.

    frames: (N,) utterance lengths; tokens: (N,) target lengths; langs: (N,) language numbers from 0; budget: frames in a padded batch.
    group: the number of batches in an epoch is a multiple of it (ranks x draws x accumulated micro-batches).
    """

    def __init__(
        self,
        frames: np.ndarray,
        budget: float,
        *,
        tokens: np.ndarray | None = None,
        token_frames: float = 0.0,
        langs: np.ndarray | None = None,
        temperature: float = 1.0,
        buckets: int = 20,
        group: int = 1,
        seed: int = 1,
        stream: str = "",
    ) -> None:
        cost = np.ceil(frames + token_frames * tokens).astype(np.int32) if tokens is not None else np.asarray(frames)
        bucket, self.sizes = _buckets(cost, max(1, int(budget)), buckets)
        self.languages = 1 if langs is None else int(langs.max()) + 1
        cell = bucket * np.uint16(self.languages)  # 16 bits: numpy sorts them by radix
        if langs is not None:
            cell += langs.astype(np.uint16)
        index_type = np.int32 if len(cost) < 2**31 else np.int64
        self.members = np.argsort(cell, kind="stable").astype(index_type)
        counts = np.bincount(cell, minlength=len(self.sizes) * self.languages)
        self.starts = np.concatenate(([0], np.cumsum(counts)))
        per_language = counts.reshape(-1, self.languages).sum(0)
        share = np.where(per_language > 0, np.maximum(per_language, 1) ** (1 / temperature), 0.0)
        passes = share / np.maximum(per_language, 1) * (len(cost) / share.sum())  # over a language per epoch; exactly 1 at temperature 1
        self.draws = counts * np.tile(passes, len(self.sizes))
        self.phase = np.repeat((np.arange(len(self.sizes)) + 0.5) / len(self.sizes), self.languages)  # cells round at different epochs
        self.group = group
        self.seed = (seed, zlib.crc32(stream.encode()))
        self.epoch = lru_cache(maxsize=2)(self._epoch)  # two: readers that run ahead may be in the next epoch already

    def _epoch(self, epoch: int) -> EpochPlan:
        return EpochPlan(self, epoch)

    def drawn(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Where every cell's walk starts and ends in this epoch, counted from the start of training."""
        return np.floor(epoch * self.draws + self.phase).astype(np.int64), np.floor((epoch + 1) * self.draws + self.phase).astype(np.int64)

    def walk(self, cell: int, start: int, end: int) -> np.ndarray:
        """The utterances at positions start to end of a cell's endless walk of shuffled passes."""
        members = self.members[self.starts[cell] : self.starts[cell + 1]]
        if start == end:
            return members[:0]
        first, last = start // len(members), (end - 1) // len(members)
        passes = [self.rng(0, cell, number).permutation(members) for number in range(first, last + 1)]
        return np.concatenate(passes)[start - first * len(members) : end - first * len(members)]

    def rng(self, *key: int) -> np.random.Generator:
        """Random numbers that depend on (seed, stream, key) only."""
        return np.random.default_rng((*self.seed, *key))


class EpochPlan(Sequence):
    """The batches of one epoch in random order; item i is an array of utterance numbers. Buckets are shuffled when first asked for."""

    def __init__(self, batches: Batches, epoch: int) -> None:
        self.batches, self.number = batches, epoch
        self.begin, self.end = (x.reshape(-1, batches.languages) for x in batches.drawn(epoch))
        self.utterances = (self.end - self.begin).sum(1)  # per bucket
        self.counts = _whole_groups(-(-self.utterances // batches.sizes), self.utterances, batches.group)
        self.firsts = np.concatenate(([0], np.cumsum(self.counts)))
        order = batches.rng(1, epoch).permutation(self.firsts[-1])
        self.order = np.resize(order, -(-len(order) // batches.group) * batches.group)
        self.shuffled: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> np.ndarray:
        batch = int(self.order[index])
        bucket = int(np.searchsorted(self.firsts, batch, side="right")) - 1
        if bucket not in self.shuffled:
            self.shuffled[bucket] = self._shuffle(bucket)
        part, parts, total = batch - int(self.firsts[bucket]), int(self.counts[bucket]), int(self.utterances[bucket])
        return self.shuffled[bucket][part * total // parts : (part + 1) * total // parts]

    def _shuffle(self, bucket: int) -> np.ndarray:
        first = bucket * self.batches.languages
        spans = zip(self.begin[bucket].tolist(), self.end[bucket].tolist(), strict=True)
        walks = [self.batches.walk(cell, begin, end) for cell, (begin, end) in enumerate(spans, first)]
        return self.batches.rng(2, self.number, bucket).permutation(np.concatenate(walks)) if len(walks) > 1 else walks[0]


def sorted_batches(frames: np.ndarray, budget: float) -> list[np.ndarray]:
    """Every utterance once, sorted by length (longest first, so that memory runs out at once or never), within the budget of frames."""
    order = np.argsort(-frames.astype(np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, int(budget // max(1, int(frames[order[start]]))))
        batches.append(order[start : start + size])
        start += size
    return batches


def _buckets(cost: np.ndarray, budget: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """The bucket of every utterance, the longest first, and the batch size of every bucket; bucket 0 holds what exceeds the budget.

    A bucket starts where its size begins to fit and takes whole batches, so that what is left over falls into the last bucket alone.
    """
    order = np.argsort(cost, kind="stable")[::-1]
    fitting = cost[order][int((cost > budget).sum()) :].clip(min=1)
    sizes, counts = [1], [len(cost) - len(fitting)]
    if len(fitting):
        total = np.cumsum(fitting, dtype=np.int64)
        buckets = int(np.clip(total[-1] // (4 * budget), 1, buckets))  # fewer for little data: company must change between epochs
        firsts = np.searchsorted(total, total[-1] * np.arange(buckets) / buckets, side="right")
        sizes += np.unique(budget // fitting[firsts]).tolist()
        fits = np.searchsorted(-fitting, [-(budget // size) for size in sizes[2:]])  # where the next size begins to fit
        begin = 0
        for size, end in zip(sizes[1:], [*fits.tolist(), len(fitting)], strict=True):
            counts.append(min(-(-max(end - begin, 0) // size) * size, len(fitting) - begin))
            begin += counts[-1]
    bucket = np.empty(len(cost), dtype=np.uint16)
    bucket[order] = np.repeat(np.arange(len(sizes), dtype=np.uint16), counts)
    return bucket, np.array(sizes)


def _whole_groups(counts: np.ndarray, utterances: np.ndarray, group: int) -> np.ndarray:
    """Cut the fullest batches smaller until the number of batches is a multiple of group, so that no rank needs a batch twice."""
    counts = counts.copy()
    while counts.sum() % group and (counts < utterances).any():
        counts[np.argmax(utterances / np.maximum(counts, 1))] += 1
    return counts
