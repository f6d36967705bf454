"""Measures the index and the sampler of a large corpus: time to open and to seek, memory per data worker.

Writes two synthetic sets, one of a single language and one of thirty, whose features are a few stored matrices, and indexes them as
training does. Then reads them, in separate processes, as three streams with two draws and two micro-batches each.

python tools/bench_index.py                           # 10 million utterances, two minutes, 4 GB of disk
python tools/bench_index.py --utterances 1_000_000    # 1 million
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np

from m2asr.data.index import UtteranceIndex
from m2asr.data.sources import Source
from m2asr.data.streams import StepLoader
from m2asr.text.tokenizer import Tokenizer, train_tokenizer
from m2asr.train_config import Batching

OPEN_SECONDS, SEEK_SECONDS, WORKER_MB = 10, 1, 300  # at most, for 10 million utterances
SETS = {"english": (0.6, 1), "many": (0.4, 30)}  # share of the utterances, languages
STREAMS = {"english": ["english"], "many": ["many"], "raw": ["english", "many"]}
FRAMES = np.arange(100, 2020, 20)  # lengths of the stored matrices
WORDS = ["the", "train", "from", "Bologna", "leaves", "at", "seven", "and", "nobody", "knows", "why", "it", "was", "late", "again"]
EPOCHS = 1000
SPEAKER = 50  # utterances of a speaker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=10_000_000, help="utterances of both sets together")
    parser.add_argument("--workers", type=int, default=2, help="data workers of a training process")
    parser.add_argument("--steps", type=int, default=20, help="steps that the workers read")
    parser.add_argument("--seeks", type=int, default=20, help="positions to seek to")
    parser.add_argument("--cost", choices=["frames", "frames_tokens"], default="frames", help="batching.cost")
    parser.add_argument("--folder", type=Path, help="folder of the temporary files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder, start = Path(temporary), time.perf_counter()
        for set_name, (share, languages) in SETS.items():
            write_set(folder, set_name, round(share * args.utterances), languages)
        train_tokenizer("char", None, WORDS, folder / "tokens")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9
        print(f"{args.utterances:,} utterances, {size:.1f} GB, written in {time.perf_counter() - start:.0f} s", flush=True)
        drop_caches(folder)
        seconds, mb = in_new_process(first_use, folder, args.cost)
        print(f"  first use builds the index: {seconds:.0f} s, at most {mb:,.0f} MB of memory", flush=True)
        drop_caches(folder)
        report(in_new_process(use, folder, args.cost, args.workers, args.steps, args.seeks))


def report(usage: Usage) -> None:
    """Print the seconds and the memory, beside the targets for 10 million utterances."""
    workers, main, seeks = usage.workers, usage.main, usage.seeks
    print(f"  opened: {verdict(usage.index + usage.plan, OPEN_SECONDS, 's')}", end="; ")
    print(f"index {usage.index:.2f} s, plan of {len(STREAMS)} streams {usage.plan:.2f} s")
    print(f"  seek to a random step of random epochs: {verdict(max(seeks), SEEK_SECONDS, 's')}", end="; ")
    print(f"the longest of {len(seeks)}, with reading the step's features (median {np.median(seeks):.2f} s)")
    print(f"  a data worker: {verdict(max(worker.pss for worker in workers), WORKER_MB, 'MB')}", end="; ")
    print(f"Pss, of which {max(worker.uss for worker in workers):,.0f} MB are private pages; the largest of {len(workers)}")
    total = main.pss + sum(worker.pss for worker in workers)
    print(f"  the training process: {main.pss:,.0f} MB Pss, with its workers {total:,.0f} MB", end="; ")
    print(f"{usage.before.pss:,.0f} MB before opening, at most {usage.peak:,.0f} MB of memory")


def verdict(value: float, most: float, unit: str) -> str:
    """A value, and whether it meets its target."""
    return f"{value:,.{2 if unit == 's' else 0}f} {unit} (at most {most:,}: {'ok' if value <= most else 'MISSED'})"


def write_set(folder: Path, name: str, count: int, languages: int) -> None:
    """Write data/<name> and dump/<name>: utterances of 1 to 20 s, sorted by speaker.

    A speaker has one language. Language l has 1 / (l + 1) of the utterances of language 0.
    """
    data, dump = folder / "data" / name, folder / "dump" / name
    data.mkdir(parents=True)
    dump.mkdir(parents=True)
    rng = np.random.default_rng(languages)
    kaldiio.save_ark(str(dump / "feats.ark"), {str(n): np.zeros((n, 80), np.float32) for n in FRAMES}, scp=str(dump / "lengths.scp"))
    locations = [line.split()[1] for line in (dump / "lengths.scp").read_text().splitlines()]
    share = 1 / np.arange(1, languages + 1)
    langs = [f"l{number:02d}" for number in rng.choice(languages, -(-count // SPEAKER), p=share / share.sum())]
    texts = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 30, 1000)]
    with ExitStack() as stack:
        paths = [data / "utt2spk", data / "utt2lang", data / "text", dump / "feats.scp", dump / "utt2num_frames"]
        spk, lang, text, feats, frames = (stack.enter_context(open(path, "w")) for path in paths)
        for first in range(0, count, 1000 * SPEAKER):
            utts = [(f"spk{number // SPEAKER:07d}-utt{number:08d}", number) for number in range(first, min(count, first + 1000 * SPEAKER))]
            lengths = np.clip(rng.gamma(4, len(FRAMES) / 12, len(utts)), 0, len(FRAMES) - 1).astype(int).tolist()
            spk.writelines(f"{utt} {utt[:10]}\n" for utt, _ in utts)
            lang.writelines(f"{utt} {langs[number // SPEAKER]}\n" for utt, number in utts)
            text.writelines(f"{utt} {texts[number % 1000]}\n" for utt, number in utts)
            feats.writelines(f"{utt} {locations[length]}\n" for (utt, _), length in zip(utts, lengths, strict=True))
            frames.writelines(f"{utt} {FRAMES[length]}\n" for (utt, _), length in zip(utts, lengths, strict=True))


def drop_caches(folder: Path) -> None:
    """Write the files to the disk and drop them from the page cache, so that they are read as after a restart of the machine."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_new_process(work: Callable, *args: Any) -> Any:
    """Run a function in a new process and return its result."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


@dataclass
class Memory:
    """MB of a process. uss: its private pages; pss: these and its share of the pages that it shares with other processes."""

    pss: float
    uss: float

    @classmethod
    def of(cls, pid: int | str = "self") -> Memory:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        mb = {name: int(value.split()[0]) / 1024 for name, value in (line.split(":") for line in lines)}
        return cls(mb["Pss"], mb["Private_Clean"] + mb["Private_Dirty"])


@dataclass
class Usage:
    """Seconds and memory of a training process that opens, reads and seeks."""

    before: Memory
    index: float
    plan: float
    workers: list[Memory]
    main: Memory
    seeks: list[float]
    peak: float


def first_use(folder: Path, cost: str) -> tuple[float, float]:
    """Seconds and memory of the first use of the sets."""
    start = time.perf_counter()
    plan(open_sets(folder), folder, cost)
    return time.perf_counter() - start, peak()


def use(folder: Path, cost: str, workers: int, steps: int, seeks: int) -> Usage:
    """Open the indexes and plan the streams, read with workers, and seek, as a training process does."""
    before, start = Memory.of(), time.perf_counter()
    indexes = open_sets(folder)
    opened = time.perf_counter()
    loader = plan(indexes, folder, cost, workers)
    planned = time.perf_counter()
    with closing(iter(loader)) as ahead:
        for _ in itertools.islice(ahead, steps):
            pass
        children, main = [Memory.of(child.pid) for child in multiprocessing.active_children()], Memory.of()
    loader.workers = 0
    times = [seek(loader, np.random.default_rng(number)) for number in range(seeks)]
    return Usage(before, opened - start, planned - opened, children, main, times, peak())


def open_sets(folder: Path) -> dict[str, UtteranceIndex]:
    return {name: UtteranceIndex(folder / "data" / name, folder / "dump" / name) for name in SETS}


def plan(indexes: dict[str, UtteranceIndex], folder: Path, cost: str, workers: int = 0) -> StepLoader:
    """The loader of process 3 of 8."""
    targets = [("x", "text", Tokenizer.load(folder / "tokens"))]
    sources = {name: Source(name, [indexes[set_name] for set_name in sets], targets) for name, sets in STREAMS.items()}
    batching = Batching(seconds=400, language_temperature=2.0, shares={"raw": 2.0}, cost=cost)
    draws = dict.fromkeys(sources, 2)
    return StepLoader(sources, batching, epoch_of="english", draws=draws, accumulation=2, rank=3, world=8, workers=workers)


def seek(loader: StepLoader, rng: np.random.Generator) -> float:
    """Seconds to read the step at a random position, with every stream in a random epoch."""
    epochs = {name: int(rng.integers(EPOCHS)) for name in loader.sources}
    start = time.perf_counter()
    streams = {name: [epoch, int(rng.integers(loader.steps_per_epoch(epoch, name)))] for name, epoch in epochs.items()}
    loader.load_state_dict({"streams": streams, "bad": []})
    with closing(iter(loader)) as steps:
        next(steps)
    return time.perf_counter() - start


def peak() -> float:
    """The most MB that this process had in memory. ru_maxrss would include the memory of the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
