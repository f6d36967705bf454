"""Which process of a run reads which batches of a step."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from m2asr.data.batch import Key

Request = tuple[Key, np.ndarray]  # a batch to be read: its key and its utterances
Requests = dict[str, list[list[Request]]]  # per stream a list over draws of a list over micro-batches
UNEVEN = 1.05  # a process may have so much more than the mean before a batch is divided


def share_out(requests: Requests, load: Callable[[str, np.ndarray], float], whole: Collection[str], world: int) -> list[Requests]:
    """The batches of a step for each of `world` processes.

    Whole batches go to the process that has least, the heaviest first: small batches multiply slowly. Then batches are divided until all
    processes have about the same. So a step reads the same utterances whatever the number of processes, and a batch is the same where
    it is not divided.

    Args:
        requests: all batches of the step.
        load: what a batch of these utterances of a stream costs.
        whole: streams whose batches are not divided.
        world: the number of processes.
    """
    items = [
        (stream, draw, micro, request)
        for stream, draws in requests.items()
        for draw, batches in enumerate(draws)
        for micro, request in enumerate(batches)
    ]
    parts: list[list[_Part]] = [[] for _ in range(world)]
    costs = [0.0] * world
    for stream, draw, micro, (key, utterances) in sorted(items, key=lambda item: -load(item[0], item[3][1])):
        rank = costs.index(min(costs))
        parts[rank].append(_Part(stream, draw, micro, key, utterances))
        costs[rank] += load(stream, utterances)
    for _ in range(2 * world):
        if not _level(parts, costs, load, whole):
            break
    shares = []
    for mine in parts:
        share: Requests = {stream: [[] for _ in draws] for stream, draws in requests.items()}
        for part in sorted(mine, key=lambda part: (part.draw, part.micro)):
            share[part.stream][part.draw].append((part.key, part.utterances))
        shares.append(share)
    return shares


class _Part:
    """A batch, or the part of one that was divided."""

    def __init__(self, stream: str, draw: int, micro: int, key: Key, utterances: np.ndarray) -> None:
        self.stream, self.draw, self.micro, self.key, self.utterances = stream, draw, micro, key, utterances

    def give(self, count: int) -> _Part:
        """Divide off so many utterances; both parts have a key of their own from then on."""
        given = _Part(self.stream, self.draw, self.micro, (*self.key, f"last {count}"), self.utterances[len(self.utterances) - count :])
        self.key, self.utterances = (*self.key, f"without {count}"), self.utterances[: len(self.utterances) - count]
        return given


def _level(
    parts: list[list[_Part]], costs: list[float], load: Callable[[str, np.ndarray], float], whole: Collection[str]
) -> bool:
    """Move some utterances from the process that has most to the one that has least; whether that was worth it."""
    mean, most, least = sum(costs) / len(costs), costs.index(max(costs)), costs.index(min(costs))
    divisible = [part for part in parts[most] if part.stream not in whole and len(part.utterances) > 1]
    if costs[most] <= UNEVEN * mean or not divisible:
        return False
    wanted = min(costs[most] - mean, mean - costs[least])
    part = max(divisible, key=lambda part: load(part.stream, part.utterances))
    each = load(part.stream, part.utterances) / len(part.utterances)
    count = min(len(part.utterances) - 1, int(wanted / each + 0.5))
    if count < 1:
        return False
    before = load(part.stream, part.utterances)
    given = part.give(count)
    parts[least].append(given)
    costs[most] += load(part.stream, part.utterances) - before
    costs[least] += load(part.stream, given.utterances)
    return True
