"""Which stretch of which recording every utterance of a data directory is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from m2asr.data.directory import read_lines, read_table
from m2asr.errors import UserError


class Item(NamedTuple):
    """What is read for one utterance: where wav.scp or segments says so, the recording, the stretch in seconds, its length by utt2dur."""

    utt: str
    place: str
    wav: str
    start: float = 0.0
    end: float | None = None
    seconds: float | None = None


def read_items(data: Path) -> list[Item]:
    """What to read for every utterance, in the order of the ids, with or without a segments file."""
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


def _segment(utt: str, place: str, value: str, wavs: dict[str, str]) -> Item:
    try:
        recording, start, end = value.split()
        wav, first, last = wavs[recording], float(start), float(end)
        if last < 0:  # Kaldi's way to say "to the end"
            return Item(utt, place, wav, first)
        if not 0 <= first < last:
            raise ValueError
    except (ValueError, KeyError):
        raise UserError(f"{place}: {utt}: write `utterance recording start end`, a recording of wav.scp and start < end") from None
    return Item(utt, place, wav, first, last, last - first)
