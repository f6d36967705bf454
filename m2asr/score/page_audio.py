"""What the players of a page play: the recordings themselves where browsers can, otherwise copies inside the page."""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import soundfile

from m2asr.data.recordings import Item
from m2asr.errors import UserError

LARGEST_COPIES = 24_000_000  # characters of all copies in one page, about an hour of speech
_WAV = {"PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"}
PLAYED = {"WAV": _WAV, "WAVEX": _WAV, "FLAC": {"PCM_S8", "PCM_16", "PCM_24"}, "OGG": {"OPUS", "VORBIS"}, "MP3": {"MPEG_LAYER_III"}}
MP3_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}  # Hz


def audio_sources(items: Sequence[Item], page: Path, largest: int = LARGEST_COPIES) -> tuple[list[str], Counter[str]]:
    """An address for the player of each utterance, empty where it has none, and how many have none by the reason.

    A file in a format that browsers play is linked as wav.scp names it, relative to `page` or absolute, with the seconds of a segment. Of
    other files the stretch is copied, in the order of the items, until all copies have `largest` characters. Commands are not run.
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
    """How a recording comes to the page: `played` as it is, `copied`, or not at all, as it is a `command` or `unreadable`."""
    if wav.rstrip().endswith("|"):
        return "command"
    try:
        with soundfile.SoundFile(wav) as file:
            return "played" if file.subtype in PLAYED.get(file.format, ()) else "copied"
    except (OSError, soundfile.SoundFileError):
        return "unreadable"


def _link(item: Item, page: Path) -> str:
    """The address of a file; seconds are a media fragment (https://www.w3.org/TR/media-frags, section 4.2.1)."""
    path = item.wav if os.path.isabs(item.wav) else os.path.relpath(item.wav, page.parent)
    address = ("file://" if os.path.isabs(path) else "./") + quote(path)
    if item.start or item.end is not None:
        address += f"#t={item.start:.2f}" + ("" if item.end is None else f",{item.end:.2f}")
    return address


def _copy(item: Item) -> str:
    """The stretch of an utterance as MP3, or as FLAC where its sample rate is none of MP3's; empty where it cannot be read."""
    from m2asr.data.audio import read_audio  # brings torch, which few pages need

    try:
        wave, rate = read_audio(item.wav, item.start, item.end)
    except UserError:
        return ""
    container, kind = ("MP3", "mpeg") if rate in MP3_RATES and "MP3" in soundfile.available_formats() else ("FLAC", "flac")
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=container)
    return f"data:audio/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
