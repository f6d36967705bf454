"""Transcripts as files: txt, json, srt, vtt and ctm."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from m2asr.decode.ctm import ctm_lines
from m2asr.decode.marks import Mark
from m2asr.decode.subtitles import Cue, cues, srt, vtt
from m2asr.decode.transcript import Segment, Transcript, spread
from m2asr.files import open_atomic

FORMATS = ("txt", "json", "srt", "vtt", "ctm")


def text_lines(transcript: Transcript, translation: bool = False) -> list[str]:
    """A line per segment; it begins with the number of its channel if the channels were transcribed separately."""
    rows = [(segment, _segment_text(segment, translation)) for segment in transcript.segments]
    return [_channel(transcript, segment) + text for segment, text in rows if text]


def write_transcript(transcript: Transcript, stem: Path, formats: Iterable[str]) -> list[Path]:
    """Write <stem>.<format>, and <stem>.<language>.<format> of the translation; json has both in one file. Returns the paths."""
    written = []
    for name, (kind, translation) in file_names(stem.name, formats, transcript.to).items():
        with open_atomic(stem.with_name(name)) as file:
            file.write(_content(transcript, kind, translation, stem.name))
        written.append(stem.with_name(name))
    return written


def file_names(stem: str, formats: Iterable[str], to: str | None) -> dict[str, tuple[str, bool]]:
    """The files of a transcript by name: the format, and whether the file has the translation."""
    names = {}
    for kind in formats:
        names[f"{stem}.{kind}"] = kind, False
        if to and kind != "json":
            names[f"{stem}.{to}.{kind}"] = kind, True
    return names


def output_names(recordings: Sequence[tuple[Path, Path]]) -> dict[Path, Path]:
    """The output path of every recording, without suffix: its path in the folder where it was found, or its name.

    Equal names keep the suffix of the recording, such as call.wav and call.mp3. If they are still equal, names of the folders above are put
    before them, as many as needed, and at last a number. Upper and lower case count as equal.
    """
    relative_paths = dict(recordings)
    names = {path: relative.with_suffix("") for path, relative in relative_paths.items()}
    naming = [lambda path, number: relative_paths[path]]
    for depth in range(1, max((len(path.resolve().parts) for path in names), default=0)):
        naming.append(lambda path, number, depth=depth: Path("_".join([*path.resolve().parts[1:-1][-depth:], path.name])))
    naming.append(lambda path, number: Path(f"{number}_{path.name}"))
    for rename in naming:
        counts = Counter(str(name).casefold() for name in names.values())
        names = {
            path: rename(path, number) if counts[str(name).casefold()] > 1 else name for number, (path, name) in enumerate(names.items(), 1)
        }
    return names


def _content(transcript: Transcript, kind: str, translation: bool, name: str) -> str:
    if kind == "txt":
        return "".join(f"{line}\n" for line in text_lines(transcript, translation))
    if kind == "json":
        return json.dumps(as_data(transcript), ensure_ascii=False, indent=1) + "\n"
    if kind == "ctm":
        utt = "_".join(name.split()) or "-"
        return "".join(ctm_lines(utt, _words(segment, translation), segment.channel) for segment in transcript.segments)
    return {"srt": srt, "vtt": vtt}[kind](_cues(transcript, translation))


def as_data(transcript: Transcript) -> dict[str, Any]:
    """A transcript as plain values, for JSON; times in seconds."""
    segments = []
    for segment in transcript.segments:
        data: dict[str, Any] = {"channel": segment.channel, "start": round(segment.start, 3), "end": round(segment.end, 3)}
        data |= {"text": segment.text, "words": [_word(word) for word in segment.words]}
        if transcript.to:
            data |= {"translation": segment.translation, "translated_words": [_word(word) for word in segment.translated]}
        segments.append(data)
    data = {"file": transcript.path, "seconds": round(transcript.seconds, 3), "language": transcript.lang, "text": transcript.text}
    if transcript.to:
        data |= {"translated_into": transcript.to, "translation": transcript.translation}
    return {**data, "notes": transcript.notes, "segments": segments}


def _word(word: Mark) -> dict[str, Any]:
    return {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3), "confidence": round(word.confidence, 3)}


def _cues(transcript: Transcript, translation: bool) -> list[Cue]:
    """The cues of every channel, sorted by time; each channel is grouped by itself."""
    all_cues = []
    for channel in sorted({segment.channel for segment in transcript.segments}):
        segments = [segment for segment in transcript.segments if segment.channel == channel]
        prefix = _channel(transcript, segments[0])
        all_cues += cues([word for segment in segments for word in _words(segment, translation)], prefix)
    return sorted(all_cues, key=lambda cue: cue.start)


def _words(segment: Segment, translation: bool) -> Sequence[Mark]:
    """The words of a segment with their times; without times they are spread over the segment."""
    words = segment.translated if translation else segment.words
    return words or spread(_segment_text(segment, translation), segment.start, segment.end)


def _segment_text(segment: Segment, translation: bool) -> str:
    return (segment.translation or "") if translation else segment.text


def _channel(transcript: Transcript, segment: Segment) -> str:
    """The channel at the beginning of a line; empty if there is only one channel."""
    return f"{segment.channel}: " if transcript.channels > 1 else ""
