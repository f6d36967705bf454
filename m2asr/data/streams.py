"""The loader that yields training steps: every stream's batches, read ahead by worker processes, resumable at any step."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from m2asr.data.batch import Batch, Key
from m2asr.data.batching import Batches, sorted_batches
from m2asr.data.sources import Source
from m2asr.errors import UserError
from m2asr.processes import end_with_parent
from m2asr.train_config import Batching

Request = tuple[Key, np.ndarray]  # a batch to be read: its key and its utterances
Read = tuple[Batch | None, list[str]]  # what it gave: the batch, and a message per utterance that could not be read
Position = tuple[int, int]  # epoch, step


@dataclass
class Step:
    """What one optimizer step reads. batches: per stream a list over draws of a list over accumulated micro-batches."""

    epoch: int
    index: int
    batches: dict[str, list[list[Batch]]]

    def draws(self) -> list[dict[str, list[Batch]]]:
        """The independent draws: per draw the micro-batches of every stream that has as many."""
        count = max(len(draws) for draws in self.batches.values())
        return [{name: draws[number] for name, draws in self.batches.items() if number < len(draws)} for number in range(count)]


class StepLoader:
    """Yields steps without end; the epoch is that of the stream `epoch_of`, the other streams go through their own epochs.

    batching.seconds are those of a step and rank: split over streams by their shares, then over a stream's `draws` (independent
    batches for stochastic weightings; 1 where none are given) and `accumulation`. Steps are a function of (seed, stream, epoch, index),
    whatever the number of workers, and `load_state_dict` goes on at any of them. Unreadable utterances are named on stderr and skipped;
    more than `max_bad` raise UserError.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        batching: Batching,
        *,
        epoch_of: str,
        draws: Mapping[str, int] | None = None,
        accumulation: int = 1,
        rank: int = 0,
        world: int = 1,
        seed: int = 1,
        workers: int = 0,
        max_bad: int = 0,
    ) -> None:
        self.sources, self.epoch_of = dict(sources), epoch_of
        self.draws = {name: (draws or {}).get(name, 1) for name in sources}
        self.accumulation, self.rank, self.world = accumulation, rank, world
        self.seed, self.workers = seed, workers
        self.bad = BadUtterances(max_bad)
        self.wait_seconds = 0.0  # time spent waiting for batches
        self.positions: dict[str, Position] = dict.fromkeys(sources, (0, 0))  # of the next step
        shares = {name: batching.shares.get(name, 1.0) for name in sources}
        total = sum(shares.values())
        self.plans = {
            name: self._plan(name, batching, batching.seconds * share / total / self.draws[name] / accumulation)
            for name, share in shares.items()
        }

    def steps_per_epoch(self, epoch: int = 0, stream: str | None = None) -> int:
        """Steps in an epoch of a stream, by default `epoch_of`."""
        return self._steps(stream or self.epoch_of, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the next step stands."""
        epoch, index = self.positions[self.epoch_of]
        streams = {name: list(position) for name, position in self.positions.items()}
        steps = {name: self._steps(name, position[0]) for name, position in self.positions.items()}
        return {"epoch": epoch, "index": index, "streams": streams, "steps": steps, "world": self.world, "bad": sorted(self.bad.messages)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; a new iteration starts there.

        Another number of processes has longer or shorter epochs: it goes on after the same share of the present one.
        """
        if set(state["streams"]) != set(self.sources):
            raise UserError(f"this checkpoint has the streams {', '.join(state['streams'])}; the config has {', '.join(self.sources)}")
        self.positions = {name: tuple(state["streams"][name]) for name in self.sources}
        if state.get("world", self.world) != self.world:
            for name, (epoch, index) in self.positions.items():
                self.positions[name] = (epoch, index * self._steps(name, epoch) // state["steps"][name])
        self.bad.messages = set(state["bad"])

    def __iter__(self) -> Iterator[Step]:
        with closing(_read_ahead(self.sources, self._requests(self.positions), self.workers)) as ahead:
            while True:
                start = time.perf_counter()
                found = next(ahead)
                self.wait_seconds += time.perf_counter() - start
                yield self._step(found)

    def _step(self, found: dict[str, list[list[Read]]]) -> Step:
        """What was read as the next step; moves on."""
        for name, draws in found.items():
            self.bad.add(message for draw in draws for _, messages in draw for message in messages)
            if any(batch is None for draw in draws for batch, _ in draw):
                raise UserError(f"stream {name}: nothing can be read any more, see the messages above; is the disk with dump/ there?")
        epoch, index = self.positions[self.epoch_of]
        self.positions = self._after(self.positions)
        return Step(epoch, index, {name: [[batch for batch, _ in draw] for draw in draws] for name, draws in found.items()})

    def _plan(self, name: str, batching: Batching, seconds: float) -> Batches:
        source, budget = self.sources[name], seconds / self.sources[name].frame_shift
        tokens = source.token_counts() if batching.cost == "frames_tokens" else None
        frames = source.frames
        above = int((frames > budget).sum())
        if above and self.rank == 0:
            longest = frames.max() * source.frame_shift
            print(
                f"stream {name}: {above} of {len(frames)} utterances are longer than a batch of {seconds:.1f} s "
                f"(the longest: {longest:.1f} s) and form batches of their own; raise batching.seconds if memory allows",
                file=sys.stderr,
            )
        return Batches(
            frames,
            budget,
            tokens=tokens,
            token_frames=batching.token_frames,
            langs=source.index.lang_ids if len(source.index.languages) > 1 else None,
            temperature=batching.language_temperature,
            buckets=batching.buckets,
            group=self.world * self.draws[name] * self.accumulation,
            seed=self.seed,
            stream=name,
        )

    def _steps(self, name: str, epoch: int) -> int:
        return len(self.plans[name].epoch(epoch)) // (self.world * self.draws[name] * self.accumulation)

    def _after(self, positions: dict[str, Position]) -> dict[str, Position]:
        return {
            name: (epoch, index + 1) if index + 1 < self._steps(name, epoch) else (epoch + 1, 0)
            for name, (epoch, index) in positions.items()
        }

    def _requests(self, positions: dict[str, Position]) -> Iterator[dict[str, list[list[Request]]]]:
        while True:
            yield {name: self._request(name, *position) for name, position in positions.items()}
            positions = self._after(positions)

    def _request(self, name: str, epoch: int, step: int) -> list[list[Request]]:
        plan = self.plans[name].epoch(epoch)
        first, draws = step * self.draws[name] * self.accumulation, self.draws[name]
        numbers = np.arange(first, first + draws * self.accumulation) * self.world + self.rank
        return [[((self.seed, name, epoch, int(i)), plan[i]) for i in draw] for draw in numbers.reshape(draws, self.accumulation)]


def eval_batches(source: Source, seconds: float, *, workers: int = 0, max_bad: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """Every utterance of a source once, longest first, in batches of at most `seconds` with padding; with `world`, this rank's part."""
    plan = sorted_batches(source.frames, seconds / source.frame_shift)
    requests = ({source.name: [[((0, source.name, 0, i), plan[i])]]} for i in range(rank, len(plan), world))
    bad = BadUtterances(max_bad)
    with closing(_read_ahead({source.name: source}, requests, workers, refill=False)) as ahead:
        for found in ahead:
            batch, messages = found[source.name][0][0]
            bad.add(messages)
            if batch is not None:
                yield batch


class BadUtterances:
    """Counts utterances that cannot be read, names each once on stderr, and raises UserError when there are more than `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.messages: set[str] = set()

    def add(self, messages: Iterable[str]) -> None:
        for message in messages:
            if message in self.messages:
                continue
            self.messages.add(message)
            if len(self.messages) > self.limit:
                raise UserError(f"{message} (bad utterances: {len(self.messages)}, train.max_bad allows {self.limit})")
            print(f"skipped: {message} ({len(self.messages)} of at most {self.limit})", file=sys.stderr)


class _Reads(Dataset):
    """Turns the requests of a step into batches; an item is its own address."""

    def __init__(self, sources: Mapping[str, Source], refill: bool) -> None:
        self.sources, self.refill = sources, refill

    def __getitem__(self, requests: dict[str, list[list[Request]]]) -> dict[str, list[list[Read]]]:
        return {
            name: [[self.sources[name].load(numbers, key, self.refill) for key, numbers in draw] for draw in draws]
            for name, draws in requests.items()
        }


def _read_ahead(sources: Mapping[str, Source], requests: Iterable[Any], workers: int, refill: bool = True) -> Generator[Any]:
    loader = DataLoader(
        _Reads(sources, refill),
        sampler=requests,
        batch_size=None,
        num_workers=workers,
        collate_fn=_same,
        worker_init_fn=_follow_main,
        pin_memory=workers > 0 and torch.cuda.is_available(),  # a thread receives and pins the next batches meanwhile
        generator=torch.Generator(),  # its own, so that reading takes nothing from the random numbers of training
        multiprocessing_context="fork" if workers else None,  # a worker never touches the accelerator, and shares the indexes' memory
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError("a data worker was killed, most likely for want of memory; lower train.workers or batching.seconds") from None


def _same(item: Any) -> Any:
    return item


def _follow_main(_: int) -> None:
    """Ctrl-C is the main process's affair; and a main process that is killed takes its workers along, which block on a full pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
