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

THREADS = 8  # recordings whose headers are read at once: disks and network drives answer late
CHUNK = 1024

T = TypeVar("T")


class Found(NamedTuple):
    """An utterance as a corpus describes it: file:line of its description, the sets that it belongs to."""

    place: str
    sets: tuple[str, ...]
    utterance: Utterance


def write_sets(out: Path, found: Iterable[Found], summary: Summary) -> Summary:
    """Write the utterances into the data directories of their sets. Raises UserError where there are none at all."""
    with DataDirs(out) as dirs, tqdm(found, unit="utt", disable=not visible()) as items:
        for item in items:
            if item.utterance.text == "":
                summary.drop("nothing left after normalization", item.utterance.id)
                continue
            for name in item.sets:
                dirs.add(name, item.utterance)
                summary.count(name, item.utterance)
        if not summary.utterances:
            raise UserError("the corpus has no utterance in the parts that were asked for; fetch it again")
    return summary


def with_seconds(found: Iterable[Found], summary: Summary) -> Iterator[Found]:
    """Fill in how long the recordings are; those that cannot be read are bad."""
    for item, seconds in measured(found, lambda item: (item.place, item.utterance.wav), summary):
        item.utterance.seconds = seconds
        yield item


def measured(items: Iterable[T], where: Callable[[T], tuple[str, str]], summary: Summary) -> Iterator[tuple[T, float]]:
    """Items with the lengths of their recordings in seconds, by the headers; `where` gives file:line and recording of an item."""
    rest = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        while chunk := list(islice(rest, CHUNK)):
            for item, length in zip(chunk, pool.map(lambda item: _length(where(item)[1]), chunk), strict=True):
                if isinstance(length, str):
                    summary.bad(f"{where(item)[0]}: {length}")
                else:
                    yield item, length


def _length(wav: str) -> float | str:
    """Seconds, or what is wrong with the recording."""
    if not Path(wav).exists():
        return f"its recording {wav} does not exist; extract or fetch its archive again"
    try:
        return audio_seconds(wav) or f"{wav}: there is no sound in it; fetch the file again"
    except UserError as error:
        return str(error)
