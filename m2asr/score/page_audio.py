"""The audio of the players of a page: links to recordings that browsers play, copies inside the page for all others."""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import soundfile

from m2asr.data.audio import read_audio
from m2asr.data.recordings import Item
from m2asr.errors import UserError

LARGEST_COPIES = 24_000_000  # characters of all copies in one page, about an hour of speech
_WAV = {"PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"}
PLAYED = {"WAV": _WAV, "WAVEX": _WAV, "FLAC": {"PCM_S8", "PCM_16", "PCM_24"}, "OGG": {"OPUS", "VORBIS"}, "MP3": {"MPEG_LAYER_III"}}
MP3_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}  # Hz


def audio_sources(items: Sequence[Item], page: Path, largest: int = LARGEST_COPIES) -> tuple[list[str], Counter[str]]:
    """The address of each utterance's audio, empty if there is none, and counts of missing audio by reason.

    A file in a format that browsers play is linked by its path in wav.scp, relative to `page` or absolute, with the seconds of a segment.
    From all other files the audio of the utterance is copied, in the order of the items, up to `largest` characters in total. Commands in
    wav.scp are not run.
    """
    kinds = {wav: _kind(wav) for wav in {item.wav for item in items}}
    sources, missing, room = [], Counter(), largest
    for item in items:
        kind = kinds[item.wav]
        source = _link(item, page) if kind == "played" else _copy(item) if kind == "copied" and room > 0 else ""
        if not source:
            reasons = {"copied": "unreadable" if room > 0 else f"beyond {largest / 1e6:g} MB of copies", "command": "command in wav.scp"}
            missing[reasons.get(kind, "unreadable")] += 1
        elif kind == "copied":
            room -= len(source)
        sources.append(source)
    return sources, missing


def _kind(wav: str) -> str:
    """How the page has a recording: `played` by a link, `copied`, or missing because it is a `command` or `unreadable`."""
    if wav.rstrip().endswith("|"):
        return "command"
    try:
        with soundfile.SoundFile(wav) as file:
            return "played" if file.subtype in PLAYED.get(file.format, ()) else "copied"
    except (OSError, soundfile.SoundFileError):
        return "unreadable"


def _link(item: Item, page: Path) -> str:
    """The address of a file; its seconds are a media fragment (https://www.w3.org/TR/media-frags, section 4.2.1)."""
    path = item.wav if os.path.isabs(item.wav) else os.path.relpath(item.wav, page.parent)
    address = ("file://" if os.path.isabs(path) else "./") + quote(path)
    if item.start or item.end is not None:
        address += f"#t={item.start:.2f}" + ("" if item.end is None else f",{item.end:.2f}")
    return address


def _copy(item: Item) -> str:
    """The audio of an utterance as MP3, or as FLAC if MP3 does not have its sample rate; empty if it cannot be read."""
    try:
        wave, rate = read_audio(item.wav, item.start, item.end, channel="mix" if item.channel is None else item.channel)
    except UserError:
        return ""
    container, kind = ("MP3", "mpeg") if rate in MP3_RATES and "MP3" in soundfile.available_formats() else ("FLAC", "flac")
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=container)
    return f"data:audio/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
