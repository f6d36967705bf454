"""From what a corpus holds to data directories: lengths are measured, empty texts dropped, and all sets appear together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from m2asr.corpora.summary import Summary
from m2asr.data.audio import audio_seconds
from m2asr.data.directory import Utterance
from m2asr.data.writer import DataDirs
from m2asr.errors import UserError
from m2asr.progress import visible

THREADS = 4  # recordings whose headers are read at once: disks and network drives answer late
CHUNK = 1024
OVERSHOOT = 0.5  # seconds that a segment may end after its recording; the recording's end is then taken

T = TypeVar("T")


class Found(NamedTuple):
    """An utterance as a corpus describes it: file:line of its description, the sets that it belongs to."""

    place: str
    sets: tuple[str, ...]
    utterance: Utterance


def write_sets(out: Path, found: Iterable[Found], summary: Summary) -> Summary:
    """Write the utterances into the data directories of their sets. Raises UserError where a set, or all, lack them."""
    with DataDirs(out) as dirs, tqdm(found, unit="utt", disable=not visible()) as items:
        for item in items:
            if item.utterance.text == "":
                summary.drop("nothing left after normalization", item.utterance.id)
                continue
            for name in item.sets:
                dirs.add(name, item.utterance)
                summary.count(name, item.utterance)
        summary.check()
    return summary


def with_seconds(found: Iterable[Found], summary: Summary) -> Iterator[Found]:
    """Fill in how long the recordings are; those that cannot be read are bad, or are dropped where they have no text anyway."""
    for item, length in measured(found, lambda item: item.utterance.wav):
        if not isinstance(length, str):
            item.utterance.seconds = length
            yield item
        elif item.utterance.text is None:
            summary.drop("unlabelled and cannot be read", length)
        else:
            summary.bad(f"{item.place}: {length}")


def measured(items: Iterable[T], wav: Callable[[T], str]) -> Iterator[tuple[T, float | str]]:
    """Items with the lengths of their recordings in seconds by the headers, or with what is wrong with a recording."""
    rest = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        while chunk := list(islice(rest, CHUNK)):
            yield from zip(chunk, pool.map(_length, map(wav, chunk)), strict=True)


def seconds_of(start: float, end: float, length: float) -> float | None:
    """How long a segment of a recording of `length` seconds is; None where it lies outside."""
    return min(end, length) - start if 0 <= start < min(end, length) and end <= length + OVERSHOOT else None


def _length(wav: str) -> float | str:
    """Seconds, or what is wrong with the recording."""
    if not Path(wav).exists():
        return f"its recording {wav} does not exist; extract or fetch its archive again"
    try:
        return audio_seconds(wav) or f"{wav}: there is no sound in it; fetch the file again"
    except UserError as error:
        return str(error)
