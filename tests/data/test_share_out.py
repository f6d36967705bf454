"""Batches of a step over processes: every utterance once, even loads, whole batches where they may not be divided."""

from __future__ import annotations

import numpy as np
import pytest

from m2asr.data.share_out import Requests, share_out


def requests(**sizes: list[int]) -> Requests:
    """A draw for every number: a batch of so many utterances."""
    start, made = 0, {}
    for stream, counts in sizes.items():
        made[stream] = []
        for draw, count in enumerate(counts):
            made[stream].append([((1, stream, 0, draw), np.arange(start, start + count))])
            start += count
    return made


def load(stream: str, utterances: np.ndarray) -> float:
    return len(utterances) * {"heavy": 3.0}.get(stream, 1.0)


def loads(shares: list[Requests]) -> list[float]:
    return [sum(load(stream, utts) for stream, draws in share.items() for draw in draws for _, utts in draw) for share in shares]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("sizes", [{"en": [40]}, {"en": [20, 20], "it": [15, 15], "raw": [4]}, {"heavy": [7], "en": [11, 3]}, {"en": [1]}])
def test_every_utterance_is_read_once(sizes, world):
    given = requests(**sizes)
    shares = share_out(given, load, whole=["raw"], world=world)
    assert len(shares) == world
    for stream, draws in given.items():
        for draw, ((_, utterances),) in enumerate(draws):
            parts = [utts for share in shares for _, utts in share[stream][draw]]
            assert sorted(np.concatenate(parts).tolist()) == utterances.tolist() and all(len(part) for part in parts)
    keys = [key for share in shares for draws in share.values() for draw in draws for key, _ in draw]
    assert len(keys) == len(set(keys))  # which are what random numbers follow


@pytest.mark.parametrize("world", [2, 3, 8])
def test_a_single_stream_is_divided_evenly(world):
    shares = share_out(requests(en=[80]), load, whole=[], world=world)
    assert max(loads(shares)) <= 80 / world + 1
    assert all(len(share["en"][0]) == 1 for share in shares)


def test_batches_stay_whole_where_they_spread_evenly():
    given = requests(en=[20, 20], it=[20, 20], ru=[20, 20])
    shares = share_out(given, load, whole=[], world=2)
    assert loads(shares) == [60, 60]
    whole = {key for draws in given.values() for draw in draws for key, _ in draw}
    assert {key for share in shares for draws in share.values() for draw in draws for key, _ in draw} == whole


def test_heavy_batches_are_divided_and_those_that_compare_are_not():
    shares = share_out(requests(heavy=[20], raw=[9]), load, whole=["raw"], world=2)
    assert max(loads(shares)) <= 1.1 * sum(loads(shares)) / 2
    assert sorted(len(share["raw"][0]) for share in shares) == [0, 1]


def test_what_may_not_be_divided_stays_with_one_process():
    shares = share_out(requests(raw=[9]), load, whole=["raw"], world=3)
    assert sorted(loads(shares)) == [0, 0, 9]
