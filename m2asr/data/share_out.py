"""Distributes the batches of a step over the processes of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from m2asr.data.batch import Key

Request = tuple[Key, np.ndarray]  # a batch to be read: its key and its utterances
Requests = dict[str, list[list[Request]]]  # per stream: for every draw, the micro-batches
UNEVEN = 1.05  # a batch is divided if a process has more than this times the mean cost


def share_out(requests: Requests, load: Callable[[str, np.ndarray], float], undivided: Collection[str], world: int) -> list[Requests]:
    """Distribute the batches of a step over `world` processes.

    First each batch goes to the process with the least cost, the most expensive batches first: small batches compute slowly. Then batches
    are divided until all processes have about the same cost; no process gets two pieces of one batch. So a step reads the same utterances
    for any number of processes, and only divided batches differ.

    Args:
        requests: all batches of the step.
        load: the cost of a batch of these utterances of a stream.
        undivided: streams whose batches are not divided.
        world: the number of processes.
    """
    batches = [
        (stream, draw, micro, request)
        for stream, draws in requests.items()
        for draw, micro_batches in enumerate(draws)
        for micro, request in enumerate(micro_batches)
    ]
    pieces: list[list[_Piece]] = [[] for _ in range(world)]
    costs = [0.0] * world
    for stream, draw, micro, (key, utterances) in sorted(batches, key=lambda item: -load(item[0], item[3][1])):
        rank = costs.index(min(costs))
        pieces[rank].append(_Piece(stream, draw, micro, key, utterances))
        costs[rank] += load(stream, utterances)
    for _ in range(2 * world):
        if not _balance(pieces, costs, load, undivided):
            break
    shares = []
    for assigned in pieces:
        share: Requests = {stream: [[] for _ in draws] for stream, draws in requests.items()}
        for piece in sorted(assigned, key=lambda piece: (piece.draw, piece.micro)):
            share[piece.stream][piece.draw].append((piece.key, piece.utterances))
        shares.append(share)
    return shares


class _Piece:
    """A batch, or a piece of a divided batch."""

    def __init__(self, stream: str, draw: int, micro: int, key: Key, utterances: np.ndarray) -> None:
        self.stream, self.draw, self.micro, self.key, self.utterances = stream, draw, micro, key, utterances

    @property
    def batch(self) -> tuple[str, int, int]:
        """The batch of the step that it belongs to."""
        return self.stream, self.draw, self.micro

    def split_off(self, count: int) -> _Piece:
        """Move the last `count` utterances to a new piece; both pieces get new keys."""
        piece = _Piece(self.stream, self.draw, self.micro, (*self.key, f"last {count}"), self.utterances[len(self.utterances) - count :])
        self.key, self.utterances = (*self.key, f"without {count}"), self.utterances[: len(self.utterances) - count]
        return piece


def _balance(pieces: list[list[_Piece]], costs: list[float], load: Callable[[str, np.ndarray], float], undivided: Collection[str]) -> bool:
    """Move utterances from the process with the highest cost to the one with the lowest; returns whether any were moved."""
    mean, busiest, idlest = sum(costs) / len(costs), costs.index(max(costs)), costs.index(min(costs))
    present = {piece.batch for piece in pieces[idlest]}
    divisible = [piece for piece in pieces[busiest] if piece.stream not in undivided and len(piece.utterances) > 1]
    divisible = [piece for piece in divisible if piece.batch not in present]
    if costs[busiest] <= UNEVEN * mean or not divisible:
        return False
    excess = min(costs[busiest] - mean, mean - costs[idlest])
    piece = max(divisible, key=lambda piece: load(piece.stream, piece.utterances))
    cost_per_utterance = load(piece.stream, piece.utterances) / len(piece.utterances)
    count = min(len(piece.utterances) - 1, int(excess / cost_per_utterance + 0.5))
    if count < 1:
        return False
    cost_before = load(piece.stream, piece.utterances)
    moved = piece.split_off(count)
    pieces[idlest].append(moved)
    costs[busiest] += load(piece.stream, piece.utterances) - cost_before
    costs[idlest] += load(piece.stream, moved.utterances)
    return True
