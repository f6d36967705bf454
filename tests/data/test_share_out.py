"""The batches of a step over processes: every utterance once, even loads, undivided batches for streams that need them."""

from __future__ import annotations

import numpy as np
import pytest

from m2asr.data.share_out import Requests, share_out


def requests(**sizes: list[int]) -> Requests:
    """Per stream, a draw for every number: a batch of so many utterances."""
    start, requested = 0, {}
    for stream, counts in sizes.items():
        requested[stream] = []
        for draw, count in enumerate(counts):
            requested[stream].append([((1, stream, 0, draw), np.arange(start, start + count))])
            start += count
    return requested


def load(stream: str, utterances: np.ndarray) -> float:
    return len(utterances) * {"heavy": 3.0}.get(stream, 1.0)


def loads(shares: list[Requests]) -> list[float]:
    return [sum(load(stream, utts) for stream, draws in share.items() for draw in draws for _, utts in draw) for share in shares]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("sizes", [{"en": [40]}, {"en": [20, 20], "it": [15, 15], "raw": [4]}, {"heavy": [7], "en": [11, 3]}, {"en": [1]}])
def test_every_utterance_is_read_once(sizes, world):
    batches = requests(**sizes)
    shares = share_out(batches, load, undivided=["raw"], world=world)
    assert len(shares) == world
    for stream, draws in batches.items():
        for draw, ((_, utterances),) in enumerate(draws):
            pieces = [utts for share in shares for _, utts in share[stream][draw]]
            assert sorted(np.concatenate(pieces).tolist()) == utterances.tolist() and all(len(piece) for piece in pieces)
    keys = [key for share in shares for draws in share.values() for draw in draws for key, _ in draw]
    assert len(keys) == len(set(keys))  # which are what random numbers follow


@pytest.mark.parametrize("world", [2, 3, 8])
def test_a_single_stream_is_divided_evenly(world):
    shares = share_out(requests(en=[80]), load, undivided=[], world=world)
    assert max(loads(shares)) <= 80 / world + 1
    assert all(len(share["en"][0]) == 1 for share in shares)


@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_no_process_gets_two_pieces_of_a_batch(world):
    """Weights from states are computed from one batch; and two pieces of it would compute more slowly than one."""
    rng = np.random.default_rng(world)
    for _ in range(200):
        weights = rng.integers(1, 400, 200)  # of utterances, which make loads uneven
        batches = requests(**{f"s{number}": rng.integers(1, 30, rng.integers(1, 3)).tolist() for number in range(rng.integers(1, 4))})
        shares = share_out(batches, lambda stream, utterances: float(weights[utterances].sum()), undivided=[], world=world)  # noqa: B023
        assert all(len(draw) <= 1 for share in shares for draws in share.values() for draw in draws)


def test_batches_that_spread_evenly_are_not_divided():
    batches = requests(en=[20, 20], it=[20, 20], ru=[20, 20])
    shares = share_out(batches, load, undivided=[], world=2)
    assert loads(shares) == [60, 60]
    keys = {key for draws in batches.values() for draw in draws for key, _ in draw}
    assert {key for share in shares for draws in share.values() for draw in draws for key, _ in draw} == keys


def test_heavy_batches_are_divided_and_those_that_compare_are_not():
    shares = share_out(requests(heavy=[20], raw=[9]), load, undivided=["raw"], world=2)
    assert max(loads(shares)) <= 1.1 * sum(loads(shares)) / 2
    assert sorted(len(share["raw"][0]) for share in shares) == [0, 1]


def test_an_undivided_batch_stays_with_one_process():
    shares = share_out(requests(raw=[9]), load, undivided=["raw"], world=3)
    assert sorted(loads(shares)) == [0, 0, 9]
