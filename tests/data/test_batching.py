"""Batches: budgets hold, an epoch is a permutation, languages get their shares, ranks get equal counts."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from m2asr.data.batching import Batches, sorted_batches


def lengths(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(4.0, 100.0, count).astype(np.int32) + 20


def utterances_of(batches: Batches, epoch: int) -> np.ndarray:
    return np.concatenate(list(batches.epoch(epoch)))


@pytest.mark.parametrize("buckets", [1, 7, 20])
@pytest.mark.parametrize("group", [1, 6])
def test_an_epoch_has_every_utterance_once(buckets: int, group: int) -> None:
    batches = Batches(lengths(1003), 3000, buckets=buckets, group=group)
    for epoch in range(3):
        assert np.array_equal(np.sort(utterances_of(batches, epoch)), np.arange(1003))
        assert len(batches.epoch(epoch)) % group == 0


def test_padded_cost_stays_within_the_budget_and_uses_it() -> None:
    frames, tokens = lengths(3000), np.random.default_rng(1).integers(0, 60, 3000)
    cost = frames + 4.0 * tokens
    for number in Batches(frames, 5000, tokens=tokens, token_frames=4.0).epoch(0):
        assert len(number) * cost[number].max() <= 5000
    padded = [len(number) * frames[number].max() / 5000 for number in Batches(frames, 5000).epoch(0)]
    assert max(padded) <= 1
    assert np.mean(padded) > 0.85


@pytest.mark.parametrize("batch_seconds", [8, 20, 60, 200])
def test_batches_of_little_data_are_filled_as_well(batch_seconds: int) -> None:
    """Some hundred utterances of 1 to 18 s: no more than half as many batches again as if none were padded, and some that are not full."""
    frames = np.minimum(lengths(370) // 2, 1800)
    budget = 100 * batch_seconds
    assert len(Batches(frames, budget).epoch(0)) <= 1.5 * frames.sum() / budget + 3


def test_an_utterance_above_the_budget_is_a_batch_by_itself() -> None:
    frames = np.array([100, 900, 100, 2000, 100], dtype=np.int32)
    plan = Batches(frames, 500, buckets=2).epoch(0)
    assert {1} in [set(batch) for batch in plan]
    assert {3} in [set(batch) for batch in plan]
    assert {0, 2, 4} in [set(batch) for batch in plan]


def test_batches_hold_similar_lengths() -> None:
    frames = lengths(5000)
    filled = [frames[batch].sum() / (len(batch) * frames[batch].max()) for batch in Batches(frames, 10000, buckets=20).epoch(0)]
    assert np.mean(filled) > 0.85


def test_deterministic_in_seed_stream_and_epoch() -> None:
    def plan(epoch: int = 3, seed: int = 1, stream: str = "en") -> list[list[int]]:
        return [list(batch) for batch in Batches(lengths(300), 3000, seed=seed, stream=stream).epoch(epoch)]

    assert plan() == plan()
    assert all(plan() != plan(**{name: value}) for name, value in {"epoch": 4, "seed": 2, "stream": "zh"}.items())


def test_an_item_does_not_depend_on_what_was_read_before() -> None:
    forward = [list(batch) for batch in Batches(lengths(500), 3000).epoch(2)]
    plan = Batches(lengths(500), 3000).epoch(2)
    assert [list(plan[i]) for i in reversed(range(len(plan)))] == forward[::-1]


@pytest.mark.parametrize("count", [1, 2, 50, 700])
def test_any_batch_of_any_epoch_is_the_one_that_walking_reaches(count: int) -> None:
    frames, langs = lengths(count), np.sort(np.random.default_rng(2).integers(0, 4, count)).astype(np.int16)

    def planned() -> Batches:
        return Batches(frames, 3000, langs=langs, temperature=3.0, group=4)

    walked = planned()
    epochs = [[batch.tolist() for batch in walked.epoch(epoch)] for epoch in range(8)]
    for epoch, index in zip([7, 0, 4, 3], np.random.default_rng(count).random(4), strict=True):
        position = int(index * len(epochs[epoch]))
        assert planned().epoch(epoch)[position].tolist() == epochs[epoch][position]


def test_seeking_takes_no_memory_of_the_size_of_the_set() -> None:
    batches = Batches(lengths(300_000), 3000)
    batches.epoch(0)[0]
    tracemalloc.start()
    for epoch in range(1000, 1050):
        plan = batches.epoch(epoch)
        plan[len(plan) // 3]
    assert tracemalloc.get_traced_memory()[1] < 100_000  # 4 bytes per utterance would be 1.2 million
    tracemalloc.stop()


def test_equal_lengths_are_split_where_a_bucket_is_full() -> None:
    frames = np.random.default_rng(3).permutation(np.repeat([2000, 400, 300, 200], [2, 7, 50, 300])).astype(np.int32)
    plan = [frames[batch] for batch in Batches(frames, 1200, buckets=5).epoch(0)]
    assert sorted(np.concatenate(plan)) == sorted(frames)
    by_cost = {cost: sorted(len(batch) for batch in plan if batch.max() == cost) for cost in (2000, 400, 300, 200)}
    assert by_cost[2000] == [1, 1]
    assert by_cost[400] == [3, 3, 3]  # the last one takes two of 300, so that the others of 300 go by four
    assert by_cost[300] == [4] * 12
    assert set(by_cost[200]) == {6}


def test_batch_order_mixes_the_buckets() -> None:
    frames = lengths(20000)
    means = np.array([frames[batch].mean() for batch in Batches(frames, 5000).epoch(0)])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.1


def test_ranks_split_an_epoch_into_equal_disjoint_shares() -> None:
    plan = Batches(lengths(1000), 3000, group=4).epoch(0)
    by_rank = [np.concatenate([plan[i] for i in range(rank, len(plan), 4)]) for rank in range(4)]
    assert np.array_equal(np.sort(np.concatenate(by_rank)), np.arange(1000))


def test_fewer_utterances_than_a_group_needs_repeat_in_whole_rounds() -> None:
    plan = Batches(lengths(3), 3000, group=4).epoch(0)
    assert len(plan) == 4
    assert set(np.concatenate(list(plan))) == {0, 1, 2}


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_languages_get_their_shares_and_nothing_is_left_out(temperature: float) -> None:
    counts = np.array([3000, 600, 60])
    langs = np.repeat(np.arange(3), counts).astype(np.int16)
    batches = Batches(lengths(counts.sum()), 5000, langs=langs, temperature=temperature, buckets=10)
    expected = counts ** (1 / temperature) / (counts ** (1 / temperature)).sum()
    times = np.zeros(counts.sum(), dtype=int)
    for epoch in range(10):
        utterances = utterances_of(batches, epoch)
        assert len(utterances) == pytest.approx(counts.sum(), abs=33)  # each of the 3 x 11 cells rounds by less than one
        assert np.bincount(langs[utterances], minlength=3) / len(utterances) == pytest.approx(expected, abs=0.01)
        times += np.bincount(utterances, minlength=len(times))
    for lang in range(3):
        assert np.ptp(times[langs == lang]) <= 2  # whole passes, but for the rounding of cells and the pass under way
    passes = 10 * expected * counts.sum() / counts
    assert (times[langs == 0].min() > 0) == (passes[0] >= 1.1)


def test_a_small_language_repeats_only_after_a_complete_pass() -> None:
    langs = np.repeat([0, 1], [2000, 50]).astype(np.int16)
    utterances = utterances_of(Batches(np.full(2050, 100, dtype=np.int32), 2000, langs=langs, temperature=3.0), 0)
    times = np.bincount(utterances, minlength=2050)[2000:]
    assert times.min() >= 1
    assert np.ptp(times) <= 1


def test_sorted_batches_hold_every_utterance_once() -> None:
    frames = lengths(400)
    plan = sorted_batches(frames, 4000)
    assert np.array_equal(np.sort(np.concatenate(plan)), np.arange(400))
    assert all(len(batch) * frames[batch].max() <= 4000 for batch in plan)


def test_two_million_utterances_are_planned_in_seconds() -> None:
    frames = np.tile(lengths(100_000), 20)
    start = time.perf_counter()
    plan = Batches(frames, 20000, group=4).epoch(5)
    plan[len(plan) // 2]
    assert time.perf_counter() - start < 3
