"""The loader that yields training steps: every stream's batches, read ahead by worker processes, resumable at any step."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from m2asr.data.batch import Batch, Key
from m2asr.data.batching import Batches, costs, sorted_batches
from m2asr.data.share_out import Request, Requests, share_out
from m2asr.data.sources import Source
from m2asr.errors import UserError
from m2asr.processes import end_with_parent
from m2asr.train_config import Batching

LoadedBatch = tuple[Batch | None, list[str]]  # a batch, and a message per utterance that could not be read
Position = tuple[int, int]  # epoch, step
MOST_EPOCHS = 10**9
Prepare = Callable[[str, Batch], Batch]  # makes the random choices for a batch of a stream, on the host
Load = Callable[[np.ndarray], float]  # the relative cost of a batch of utterances with these frames (K,)


@dataclass
class Step:
    """The batches of one optimizer step: per stream, for every draw, the accumulated micro-batches."""

    epoch: int
    index: int
    batches: dict[str, list[list[Batch]]]

    def draws(self) -> list[dict[str, list[Batch]]]:
        """The independent draws: for each, the micro-batches of every stream that has so many draws."""
        count = max(len(draws) for draws in self.batches.values())
        return [{name: draws[number] for name, draws in self.batches.items() if number < len(draws)} for number in range(count)]


class StepLoader:
    """Yields steps without end; the epoch is that of the stream `epoch_of`, the other streams go through their own epochs.

    batching.seconds is the size of a step. It is split over streams by their shares, then over a stream's `draws` (independent batches for
    stochastic weightings; 1 by default) and `accumulation`. Steps are a function of (seed, stream, epoch, index), for any number of
    workers and processes. `share_out` distributes the batches of a step over the processes, by their cost `loads`, and does not divide
    batches of streams in `undivided`. A `Step` holds the batches of this process. `load_state_dict` continues at any step. Unreadable
    utterances are named on stderr and skipped; more than `max_bad` raise UserError. The process that reads a batch calls `prepare` for it.

    Attributes:
        seconds: the size of a micro-batch of every stream, with padding.
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
        prepare: Prepare | None = None,
        loads: Mapping[str, Load] | None = None,
        undivided: Collection[str] = (),
    ) -> None:
        self.prepare, self.loads, self.undivided = prepare, loads or {}, set(undivided)
        self.sources, self.epoch_of = dict(sources), epoch_of
        self.draws = {name: (draws or {}).get(name, 1) for name in sources}
        self.accumulation, self.rank, self.world = accumulation, rank, world
        self.seed, self.workers = seed, workers
        self.bad = BadUtterances(max_bad)
        self.wait_seconds = 0.0  # time spent waiting for batches
        self.positions: dict[str, Position] = dict.fromkeys(sources, (0, 0))  # of the next step
        shares = {name: batching.shares.get(name, 1.0) for name in sources}
        total = sum(shares.values())
        self.seconds = {name: batching.seconds * share / total / self.draws[name] / accumulation for name, share in shares.items()}
        self.token_frames = batching.token_frames if batching.cost == "frames_tokens" else 0.0
        self.plans = {name: self._plan(name, batching, seconds) for name, seconds in self.seconds.items()}

    def steps_per_epoch(self, epoch: int = 0, stream: str | None = None) -> int:
        """Steps in an epoch of a stream, by default `epoch_of`."""
        return self._steps(stream or self.epoch_of, epoch)

    def dev_batches(self, source: Source) -> Iterator[Batch]:
        """Batches of a dev source for this rank, no larger than the largest micro-batch; all ranks together read each utterance once."""
        options = {"token_frames": self.token_frames, "max_bad": self.bad.limit, "seed": self.seed}
        options |= {"rank": self.rank, "world": self.world}
        return eval_batches(source, max(self.seconds.values()), **options)

    def state_dict(self) -> dict[str, Any]:
        """The position of the next step, and the messages about bad utterances."""
        epoch, index = self.positions[self.epoch_of]
        streams = {name: list(position) for name, position in self.positions.items()}
        return {"epoch": epoch, "index": index, "streams": streams, "bad": sorted(self.bad.messages)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`, also of a run with another number of processes; a new iteration starts there.

        Raises UserError if the state is that of other streams, or of other utterances.
        """
        if set(state["streams"]) != set(self.sources):
            raise UserError(f"this checkpoint has the streams {', '.join(state['streams'])}; the config has {', '.join(self.sources)}")
        for name, (epoch, step) in state["streams"].items():
            if not 0 <= epoch < MOST_EPOCHS or not 0 <= step < self.steps_per_epoch(epoch, name):
                raise UserError(f"stream {name}: step {step} of epoch {epoch} does not exist; have its sets changed since?")
        self.positions = {name: tuple(state["streams"][name]) for name in self.sources}
        self.bad.messages = set(state["bad"])

    def __iter__(self) -> Iterator[Step]:
        with closing(_read_ahead(self.sources, self._requests(self.positions), self.workers, prepare=self.prepare)) as ahead:
            while True:
                start = time.perf_counter()
                loaded = next(ahead)
                self.wait_seconds += time.perf_counter() - start
                yield self._step(loaded)

    def _step(self, loaded: dict[str, list[list[LoadedBatch]]]) -> Step:
        """Make the next step from its loaded batches, and advance the positions."""
        for name, draws in loaded.items():
            self.bad.add(message for draw in draws for _, messages in draw for message in messages)
            if any(batch is None for draw in draws for batch, _ in draw):
                raise UserError(f"stream {name}: no utterance can be read any more, see the messages above; is the disk of dump/ mounted?")
        epoch, index = self.positions[self.epoch_of]
        self.positions = self._after(self.positions)
        return Step(epoch, index, {name: [[batch for batch, _ in draw] for draw in draws] for name, draws in loaded.items()})

    def _plan(self, name: str, batching: Batching, seconds: float) -> Batches:
        source, budget = self.sources[name], seconds / self.sources[name].frame_shift
        tokens = source.token_counts() if self.token_frames else None
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
            token_frames=self.token_frames,
            langs=source.index.lang_ids if len(source.index.languages) > 1 else None,
            temperature=batching.language_temperature,
            buckets=batching.buckets,
            group=self.draws[name] * self.accumulation,
            seed=self.seed,
            stream=name,
        )

    def _steps(self, name: str, epoch: int) -> int:
        return len(self.plans[name].epoch(epoch)) // (self.draws[name] * self.accumulation)

    def _after(self, positions: dict[str, Position]) -> dict[str, Position]:
        return {
            name: (epoch, index + 1) if index + 1 < self._steps(name, epoch) else (epoch + 1, 0)
            for name, (epoch, index) in positions.items()
        }

    def _requests(self, positions: dict[str, Position]) -> Iterator[Requests]:
        while True:
            requests = {name: self._request(name, *position) for name, position in positions.items()}
            yield requests if self.world == 1 else share_out(requests, self._load_of, self.undivided, self.world)[self.rank]
            positions = self._after(positions)

    def _request(self, name: str, epoch: int, step: int) -> list[list[Request]]:
        plan = self.plans[name].epoch(epoch)
        first, draws = step * self.draws[name] * self.accumulation, self.draws[name]
        numbers = np.arange(first, first + draws * self.accumulation)
        return [[((self.seed, name, epoch, int(i)), plan[i]) for i in draw] for draw in numbers.reshape(draws, self.accumulation)]

    def _load_of(self, name: str, utterances: np.ndarray) -> float:
        frames = self.sources[name].frames_of(utterances)
        return self.loads[name](frames) if name in self.loads else float(frames.sum())


def eval_batches(
    source: Source,
    seconds: float,
    *,
    token_frames: float = 0.0,
    workers: int = 0,
    max_bad: int = 0,
    rank: int = 0,
    world: int = 1,
    seed: int = 0,
) -> Iterator[Batch]:
    """Every utterance of a source once, longest first, in batches of at most `seconds` with padding; with `world`, this rank's batches.

    With `token_frames` every target token counts as so many frames. The seed is for random choices of `prepare`, such as windows.
    """
    tokens = source.token_counts() if token_frames else None
    plan = sorted_batches(costs(source.frames, tokens, token_frames), seconds / source.frame_shift)
    requests = ({source.name: [[((seed, source.name, 0, i), plan[i])]]} for i in range(rank, len(plan), world))
    bad = BadUtterances(max_bad)
    with closing(_read_ahead({source.name: source}, requests, workers, refill=False)) as ahead:
        for loaded in ahead:
            batch, messages = loaded[source.name][0][0]
            bad.add(messages)
            if batch is not None:
                yield batch


class BadUtterances:
    """Counts utterances that cannot be read, names each once on stderr, and raises UserError when there are more than `limit`.

    `option` is the name of the option that gives the limit.
    """

    def __init__(self, limit: int, option: str = "train.max_bad") -> None:
        self.limit, self.option = limit, option
        self.messages: set[str] = set()

    def add(self, messages: Iterable[str]) -> None:
        for message in messages:
            if message in self.messages:
                continue
            self.messages.add(message)
            if len(self.messages) > self.limit:
                raise UserError(f"{message} (bad utterances: {len(self.messages)}, {self.option} allows {self.limit})")
            print(f"skipped: {message} ({len(self.messages)} of at most {self.limit})", file=sys.stderr)


class _BatchReader(Dataset):
    """A data set whose items are steps: an item is addressed by the requests of its batches, not by a number."""

    def __init__(self, sources: Mapping[str, Source], refill: bool, prepare: Prepare | None) -> None:
        self.sources, self.refill, self.prepare = sources, refill, prepare

    def __getitem__(self, requests: dict[str, list[list[Request]]]) -> dict[str, list[list[LoadedBatch]]]:
        return {name: [[self._read(name, *request) for request in draw] for draw in draws] for name, draws in requests.items()}

    def _read(self, name: str, key: Key, numbers: np.ndarray) -> LoadedBatch:
        batch, messages = self.sources[name].load(numbers, key, self.refill)
        return batch if batch is None or self.prepare is None else self.prepare(name, batch), messages


def _read_ahead(
    sources: Mapping[str, Source], requests: Iterable[Any], workers: int, refill: bool = True, prepare: Prepare | None = None
) -> Generator[Any]:
    loader = DataLoader(
        _BatchReader(sources, refill, prepare),
        sampler=requests,
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=_follow_main,
        pin_memory=workers > 0 and torch.cuda.is_available(),  # a thread receives and pins the next batches
        generator=torch.Generator(),  # so that reading does not use the random numbers of the training
        multiprocessing_context="fork" if workers else None,  # a worker does not use the accelerator, and shares the memory of the indexes
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError("a data worker was killed, most likely because memory ran out; lower train.workers or batching.seconds") from None


def _unchanged(item: Any) -> Any:
    return item


def _follow_main(_: int) -> None:
    """Let the main process handle Ctrl-C, and end with it: workers of a killed main process would wait on a full pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
