"""Plans the batches of an epoch: length buckets, language temperature, a number of batches that steps divide."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from m2asr.data.shuffle import keyed, shuffled

FILL = 0.8  # the part of the budget that batches are to hold on average, as far as lengths and the number of buckets allow


class Batches:
    """The batches of one stream, epoch after epoch: `epoch(e)` is a function of (seed, stream, e) alone.

    A bucket holds utterances of similar cost, and about the same total as every other bucket. The batches of a bucket have one size, the
    largest for which (utterances x highest cost) stays within the budget; so their number is known before anything is shuffled. A shuffled
    order can be computed at a single position, so any batch of any epoch is computed without the others. An utterance above the budget is
    a batch by itself.

    With language temperature T a language of n utterances gets a share of the epoch proportional to n^(1/T). Every (bucket, language) cell
    walks through shuffled passes over its utterances and continues in the next epoch where it stopped: a small language repeats complete
    passes, a large one rotates, and no utterance is left out.

    frames: (N,) utterance lengths; tokens: (N,) target lengths; langs: (N,) language numbers from 0; budget: frames in a padded batch.
    group: the number of batches in an epoch is a multiple of it (draws x accumulated micro-batches).
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
        cost = costs(frames, tokens, token_frames)
        bucket, self.sizes = _buckets(cost, int(np.clip(budget, 1, 2**31 - 2)), buckets)
        self.languages = 1 if langs is None else int(langs.max()) + 1
        cell = bucket.astype(np.min_scalar_type(len(self.sizes) * self.languages))  # numpy sorts up to 16 bits by radix
        if langs is not None:
            cell *= cell.dtype.type(self.languages)
            cell += langs.astype(cell.dtype)
        self.counts = np.bincount(cell, minlength=len(self.sizes) * self.languages)
        self.starts = np.cumsum(self.counts) - self.counts
        index_type = np.int32 if len(cost) < 2**31 else np.int64
        self.members = np.argsort(cell, kind="stable").astype(index_type)
        per_language = self.counts.reshape(-1, self.languages).sum(0)
        share = np.where(per_language > 0, np.maximum(per_language, 1) ** (1 / temperature), 0.0)
        passes = share / np.maximum(per_language, 1) * (len(cost) / share.sum())  # per language in an epoch; exactly 1 at temperature 1
        self.samples = self.counts * np.tile(passes, len(self.sizes))
        # Offsets let the cells round up in different epochs.
        self.offsets = np.repeat((np.arange(len(self.sizes)) + 0.5) / len(self.sizes), self.languages)
        self.group = group
        self.seed = (seed, zlib.crc32(stream.encode()))
        self.epoch = lru_cache(maxsize=2)(self._epoch)  # two, since readers ahead of the training may be in the next epoch

    def _epoch(self, epoch: int) -> EpochPlan:
        return EpochPlan(self, epoch)

    def spans(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The positions where every cell's walk starts and ends in this epoch, counted from the start of training."""
        begin, end = (np.floor(number * self.samples + self.offsets).astype(np.int64) for number in (epoch, epoch + 1))
        return begin, end

    def walk(self, cells: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The utterances (K,) at these positions of the walks of these cells; a walk is an endless series of shuffled passes."""
        passes, rows = np.divmod(positions, self.counts[cells])
        return self.members[self.starts[cells] + shuffled(rows, self.counts[cells], self.key(0, cells, passes))]

    def key(self, *numbers: int | np.ndarray) -> np.ndarray:
        """The key of random numbers that depend on (seed, stream, numbers) only."""
        return keyed(*self.seed, *numbers)


class EpochPlan(Sequence):
    """The batches of one epoch in random order; item i is an array of utterance numbers."""

    def __init__(self, batches: Batches, epoch: int) -> None:
        self.batches, self.number = batches, epoch
        self.begin, end = (x.reshape(-1, batches.languages) for x in batches.spans(epoch))
        self.ends = (end - self.begin).cumsum(1)  # of the languages within their bucket
        self.utterances = self.ends[:, -1]  # per bucket
        self.counts = _fill_groups(-(-self.utterances // batches.sizes), self.utterances, batches.group)
        self.firsts = np.concatenate(([0], np.cumsum(self.counts)))

    def __len__(self) -> int:
        return -(-int(self.firsts[-1]) // self.batches.group) * self.batches.group

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        count = int(self.firsts[-1])  # the batches that are missing in the last group repeat
        batch = int(shuffled([index % count], count, self.batches.key(1, self.number))[0])
        bucket = int(np.searchsorted(self.firsts, batch, side="right")) - 1
        nth, batches, total = batch - int(self.firsts[bucket]), int(self.counts[bucket]), int(self.utterances[bucket])
        positions = np.arange(nth * total // batches, (nth + 1) * total // batches)
        positions = shuffled(positions, total, self.batches.key(2, self.number, bucket))  # (B,) in the bucket, language after language
        langs = np.searchsorted(self.ends[bucket], positions, side="right")
        walk_positions = self.begin[bucket, langs] + positions - np.concatenate(([0], self.ends[bucket]))[langs]
        return self.batches.walk(bucket * self.batches.languages + langs, walk_positions)


def costs(frames: np.ndarray, tokens: np.ndarray | None = None, token_frames: float = 0.0) -> np.ndarray:
    """The costs of utterances within the budget of a batch, (N,) int32: their frames, and `token_frames` for each token."""
    return np.ceil(frames + token_frames * tokens).astype(np.int32) if tokens is not None else np.asarray(frames)


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
    """The bucket of every utterance, the longest first, and the batch size of every bucket; bucket 0 holds utterances above the budget.

    Little data gets fewer buckets, so that an utterance meets others in the next epoch, but as many as it takes to fill the batches.
    Costs are small integers, so they are counted, not sorted.
    """
    cost = np.clip(cost, 1, budget + 1)
    utterances = np.bincount(cost)  # (C,) of every cost
    total = float(utterances[: budget + 1] @ np.arange(len(utterances[: budget + 1])))
    sizes, counts = np.array([1]), utterances[budget + 1 :].sum(keepdims=True)
    if counts[0] < len(cost):
        fewest = int(np.clip(total // (4 * budget), 1, buckets))
        layouts = []
        for number in range(fewest, buckets + 1):
            layouts.append(_layout(utterances, budget, number))
            if _batch_count(*layouts[-1]) * budget * FILL <= total:
                break
        sizes, counts = min(layouts, key=lambda layout: _batch_count(*layout))
    ends = np.cumsum(counts)
    more = len(cost) - np.cumsum(utterances)  # (C,) utterances that cost more
    first, last = (np.searchsorted(ends, rank, side="right") for rank in (more, more + utterances - 1))  # (C,) buckets of every cost
    bucket = first.astype(np.uint16)[cost]
    for shared in np.flatnonzero((utterances > 0) & (first < last)):  # costs whose utterances do not all fit into one bucket
        members = np.flatnonzero(cost == shared)
        bucket[members] = np.searchsorted(ends, more[shared] + np.arange(len(members)), side="right")
    return bucket, sizes


def _layout(utterances: np.ndarray, budget: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Batch sizes and counts of utterances of at most 1 + `buckets` buckets, from how many `utterances` (C,) have every cost.

    A bucket starts where its size begins to fit and takes whole batches, so that what is left over falls into the last bucket alone.
    """
    count, more = int(utterances.sum()), utterances.sum() - np.cumsum(utterances)
    costs = np.arange(len(utterances))[budget::-1]
    total = np.cumsum(costs * utterances[budget::-1])
    firsts = costs[np.searchsorted(total, total[-1] * np.arange(buckets) / buckets, side="right")]
    sizes, counts = [1, *np.unique(budget // firsts).tolist()], [int(utterances[budget + 1 :].sum())]
    fits = [int(more[min(budget // size, len(more) - 1)]) for size in sizes[2:]]  # where the next size begins to fit
    begin = counts[0]
    for size, end in zip(sizes[1:], [*fits, count], strict=True):
        counts.append(min(-(-max(end - begin, 0) // size) * size, count - begin))
        begin += counts[-1]
    return np.array(sizes), np.array(counts)


def _batch_count(sizes: np.ndarray, counts: np.ndarray) -> int:
    """The batches of an epoch, without those of utterances above the budget."""
    return int((-(-counts[1:] // sizes[1:])).sum())


def _fill_groups(counts: np.ndarray, utterances: np.ndarray, group: int) -> np.ndarray:
    """The numbers of batches per bucket, raised until their sum is a multiple of group, so that no batch is read twice.

    Each time the bucket with the fullest batches gets one more.
    """
    counts = counts.copy()
    while counts.sum() % group and (counts < utterances).any():
        counts[np.argmax(utterances / np.maximum(counts, 1))] += 1
    return counts
