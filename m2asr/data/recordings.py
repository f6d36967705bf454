"""Reads which recording, and which segment of it, each utterance of a data directory is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from m2asr.data.directory import read_lines, read_table
from m2asr.errors import UserError
from m2asr.files import recover


class Item(NamedTuple):
    """The audio of an utterance: file:line in wav.scp or segments, the recording, start and end in seconds, the length in utt2dur."""

    utt: str
    location: str
    wav: str
    start: float = 0.0
    end: float | None = None
    seconds: float | None = None
    channel: int | None = None  # that its segment names, from 0


class Segment(NamedTuple):
    """A stretch of a recording in seconds; without an end it goes to the end of the recording. A channel (from 0) may be named."""

    recording: str
    start: float
    end: float | None = None
    channel: int | None = None

    @classmethod
    def parse(cls, value: str) -> Segment:
        """Read `recording start end` or, as Kaldi does, `recording start end channel`, where an end of -1 is that of the recording.

        Raises ValueError for anything else, and if the end does not lie after the start.
        """
        recording, start, end, *channel = value.split()
        begin, finish = float(start), float(end)
        if not (0 <= begin < math.inf and (finish < 0 or begin < finish < math.inf)) or len(channel) > 1:
            raise ValueError(value)
        if channel and not channel[0].isdecimal():
            raise ValueError(value)
        return cls(recording, begin, None if finish < 0 else finish, int(channel[0]) if channel else None)


def read_items(data: Path) -> list[Item]:
    """The audio of every utterance, in the order of the ids, with or without a segments file.

    Raises UserError (file:line) if wav.scp is missing or empty, or a segment or a duration is wrong.
    """
    wav_scp, segments = recover(data) / "wav.scp", data / "segments"
    if not wav_scp.is_file():
        raise UserError(f"{wav_scp}: not found; run stage 0 (data) first")
    wavs = read_table(wav_scp)
    if segments.is_file():
        items = [_segment(utt, f"{segments}:{number}", value, wavs) for number, utt, value in read_lines(segments)]
    else:
        seconds = read_table(data / "utt2dur") if (data / "utt2dur").is_file() else {}
        lines = read_lines(wav_scp)
        items = [Item(utt, f"{wav_scp}:{number}", wav, seconds=_duration(data, utt, seconds.get(utt))) for number, utt, wav in lines]
    if not items:
        raise UserError(f"{wav_scp}: this set has no utterance")
    return sorted(items, key=lambda item: item.utt.encode())


def _duration(data: Path, utt: str, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
        if not 0 <= seconds < math.inf:
            raise ValueError
        return seconds
    except ValueError:
        raise UserError(f"{data / 'utt2dur'}: {utt}: `{value}` is not a number of seconds") from None


def _segment(utt: str, location: str, value: str, wavs: dict[str, str]) -> Item:
    try:
        segment = Segment.parse(value)
        wav = wavs[segment.recording]
    except (ValueError, KeyError):
        raise UserError(f"{location}: {utt}: write `utterance recording start end`, a recording of wav.scp and start < end") from None
    seconds = None if segment.end is None else segment.end - segment.start
    return Item(utt, location, wav, segment.start, segment.end, seconds, segment.channel)
