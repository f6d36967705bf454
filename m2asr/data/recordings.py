"""Reads which recording, and which segment of it, each utterance of a data directory is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from m2asr.data.directory import read_lines, read_table
from m2asr.errors import UserError


class Item(NamedTuple):
    """The audio of an utterance: file:line in wav.scp or segments, the recording, start and end in seconds, the length in utt2dur."""

    utt: str
    location: str
    wav: str
    start: float = 0.0
    end: float | None = None
    seconds: float | None = None


def read_items(data: Path) -> list[Item]:
    """The audio of every utterance, in the order of the ids, with or without a segments file."""
    wav_scp, segments = data / "wav.scp", data / "segments"
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
    try:
        return None if value is None else float(value)
    except ValueError:
        raise UserError(f"{data / 'utt2dur'}: {utt}: `{value}` is not a number of seconds") from None


def _segment(utt: str, location: str, value: str, wavs: dict[str, str]) -> Item:
    try:
        recording, start, end = value.split()
        wav, begin, finish = wavs[recording], float(start), float(end)
        if finish < 0:  # in Kaldi: to the end of the recording
            return Item(utt, location, wav, begin)
        if not 0 <= begin < finish:
            raise ValueError
    except (ValueError, KeyError):
        raise UserError(f"{location}: {utt}: write `utterance recording start end`, a recording of wav.scp and start < end") from None
    return Item(utt, location, wav, begin, finish, finish - begin)
