"""Turns the utterances of a corpus into data directories: measures lengths, drops empty texts, and writes all sets together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from m2asr.config import FbankConfig
from m2asr.corpora.summary import Summary
from m2asr.data.audio import audio_seconds
from m2asr.data.directory import Utterance
from m2asr.data.writer import DataDirs
from m2asr.errors import UserError
from m2asr.progress import visible

THREADS = 4  # recordings whose headers are read in parallel, since network drives are slow
CHUNK = 1024
WINDOW = FbankConfig().frame_length  # ms; features need one at least
OVERSHOOT = 0.5  # seconds by which a segment may end after its recording; it then ends with the recording

T = TypeVar("T")


class CorpusUtterance(NamedTuple):
    """An utterance of a corpus, with the file:line that describes it and the sets that it belongs to."""

    location: str
    sets: tuple[str, ...]
    utterance: Utterance


def write_sets(out: Path, utterances: Iterable[CorpusUtterance], summary: Summary) -> Summary:
    """Write utterances into the data directories of their sets. Raises UserError if there are none, or a required set has none."""
    with DataDirs(out) as dirs, tqdm(utterances, unit="utt", disable=not visible()) as items:
        for item in items:
            if 1000 * item.utterance.seconds < WINDOW:
                problem = f"{item.utterance.seconds:.3f} s are shorter than a window of {WINDOW:g} ms"
                if item.utterance.text is None:
                    summary.drop("unlabelled and too short", f"{item.location}: {problem}")
                else:
                    summary.bad(f"{item.location}: {item.utterance.id}: {problem}")
                continue
            if item.utterance.text == "":
                summary.drop("nothing left after normalization", item.utterance.id)
                continue
            for name in item.sets:
                dirs.add(name, item.utterance)
                summary.count(name, item.utterance)
        summary.check()
    return summary


def with_seconds(utterances: Iterable[CorpusUtterance], summary: Summary) -> Iterator[CorpusUtterance]:
    """Fill in the lengths of the recordings; an unreadable one is bad, or is dropped if it has no text."""
    for item, length in measured(utterances, lambda item: item.utterance.wav):
        if not isinstance(length, str):
            item.utterance.seconds = length
            yield item
        elif item.utterance.text is None:
            summary.drop("unlabelled and cannot be read", length)
        else:
            summary.bad(f"{item.location}: {length}")


def measured(items: Iterable[T], wav: Callable[[T], str]) -> Iterator[tuple[T, float | str]]:
    """Each item with the length of its recording in seconds by the header, or with a message if it cannot be read."""
    iterator = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        while chunk := list(islice(iterator, CHUNK)):
            yield from zip(chunk, pool.map(_length, map(wav, chunk)), strict=True)


def seconds_of(start: float, end: float, length: float) -> float | None:
    """The length of a segment of a recording of `length` seconds; None if it is not inside the recording."""
    return min(end, length) - start if 0 <= start < min(end, length) and end <= length + OVERSHOOT else None


def _length(wav: str) -> float | str:
    """The seconds of a recording, or a message if it cannot be read."""
    if not Path(wav).exists():
        return f"its recording {wav} does not exist; extract or fetch its archive again"
    try:
        return audio_seconds(wav) or f"{wav}: it has no samples; fetch the file again"
    except UserError as error:
        return str(error)
