"""Measures the utterances of a data directory that utt2dur lacks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from m2asr.data.audio import audio_seconds
from m2asr.data.directory import Tables
from m2asr.data.recordings import Segment
from m2asr.errors import UserError

THREADS = 4  # recordings whose headers are read in parallel, since network drives are slow


def durations(tables: Tables, folder: Path, allow_pipes: bool, problems: list[str]) -> dict[str, str]:
    """The seconds of the utterances that have no line in utt2dur, by their segments or recordings.

    One that cannot be measured is left out and noted in `problems`. Raises UserError where a command would have to run, and may not.
    """
    lacking = [utt for utt in tables.get("utt2spk", {}) if not tables.get("utt2dur", {}).get(utt)]
    segments: dict[str, Segment] = {}
    for utt in lacking:
        try:
            segments[utt] = Segment.parse(tables["segments"][utt]) if "segments" in tables else Segment(utt, 0.0)
        except (KeyError, ValueError):  # `fix` drops it for that reason
            continue
    recordings = sorted({segment.recording for segment in segments.values() if segment.end is None} & tables["wav.scp"].keys())
    if (pipes := [key for key in recordings if tables["wav.scp"][key].endswith("|")]) and not allow_pipes:
        raise UserError(f"{folder / 'wav.scp'}: {pipes[0]}: to measure what a command writes it must run; give --allow_pipes")

    def measured(key: str) -> float | str:
        try:
            return audio_seconds(tables["wav.scp"][key], allow_pipes)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        lengths = dict(zip(recordings, pool.map(measured, recordings), strict=True))
    seconds = {}
    for utt, segment in segments.items():
        end = lengths.get(segment.recording) if segment.end is None else segment.end
        if isinstance(end, str):
            problems.append(f"{utt}: {end}")
        elif end is not None and end > segment.start:
            seconds[utt] = f"{end - segment.start:.3f}"
    return seconds
