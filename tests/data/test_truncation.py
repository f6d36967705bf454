from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile

from m2asr.data.audio import audio_seconds, read_audio
from m2asr.data.truncation import truncated
from m2asr.errors import UserError
from tests.fuzz.commands import limited

WAVE = np.random.default_rng(0).uniform(-0.5, 0.5, 48000).astype(np.float32)
FORMATS = {
    "a.wav": {},
    "big.wav": {"endian": "BIG"},
    "a.wavex": {"format": "WAVEX"},
    "a.sph": {"format": "NIST"},
    "a.flac": {},
    "a.mp3": {},
    "a.ogg": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.aiff": {},
    "a.au": {},
    "a.w64": {},
    "a.rf64": {},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_lost_end_is_told_in_every_format(name: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / name
    soundfile.write(path, WAVE, 16000, **FORMATS[name])
    assert audio_seconds(str(path)) == 3.0 and len(read_audio(str(path))[0]) == len(WAVE)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=f"{name}: (truncated|cannot read)") as error:
        read_audio(str(path))
    assert "\n" not in str(error.value)


def test_an_ogg_stream_cut_between_two_pages_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    soundfile.write(path, WAVE, 16000, format="OGG", subtype="OPUS")
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"OggS")])
    with open(path, "rb") as file:
        assert truncated(file, "OGG") == "its last page does not end the stream"
    path.write_bytes(content)
    with open(path, "rb") as file:
        assert truncated(file, "OGG") is None


def test_a_header_from_a_pipe_promises_nothing(tmp_path: Path) -> None:
    """sox and ffmpeg write a dummy length where they cannot seek back."""
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16000)
    content = bytearray(path.read_bytes())
    offset = content.find(b"data") + 4
    for length in (0x7FFFFFFF - 36, 0xFFFFFFFF):
        content[offset : offset + 4] = length.to_bytes(4, "little")
        path.write_bytes(content)
        assert len(read_audio(str(path))[0]) == len(WAVE)


def test_what_a_command_gives_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16000)
    with pytest.raises(UserError, match="truncated: its header promises 96000 bytes"):
        read_audio(f"head -c 50000 {path} |", allow_pipes=True)


def test_a_chunk_before_the_samples_is_skipped(tmp_path: Path) -> None:
    """The word `data` in a comment is not the data chunk."""
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16000)
    content = path.read_bytes()
    comment = b"LIST" + (20).to_bytes(4, "little") + b"INFOICMT" + (8).to_bytes(4, "little") + b"data\xff\xff\xff\x0f"
    path.write_bytes(content[:12] + comment + content[12:])
    assert len(read_audio(str(path))[0]) == len(WAVE)


def test_a_length_of_0_is_that_of_the_file(tmp_path: Path) -> None:
    """Programs that write to a pipe and cannot go back to the header."""
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16000)
    content = bytearray(path.read_bytes())
    offset = content.find(b"data") + 4
    content[offset : offset + 4] = bytes(4)
    path.write_bytes(content)
    assert audio_seconds(str(path)) == 3.0 and len(read_audio(f"cat {path} |", allow_pipes=True)[0]) == len(WAVE)
    soundfile.write(tmp_path / "a.flac", WAVE, 16000)
    flac = bytearray((tmp_path / "a.flac").read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(flac)
    for read in (audio_seconds, read_audio):
        with pytest.raises(UserError, match="a.flac: cannot read this recording: a pipe wrote its header, which has no length"):
            read(str(tmp_path / "a.flac"))


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_streams_behind_the_first_are_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    soundfile.write(path, WAVE, 16000, **FORMATS[name])
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(UserError, match="it holds several streams, one behind the other, of which only the first can be read"):
        audio_seconds(str(path))


@pytest.mark.parametrize("name, order", [("a.wav", "little"), ("big.wav", "big"), ("a.au", "big")])
def test_a_header_that_promises_too_little_is_told(name: str, order: Literal["little", "big"], tmp_path: Path) -> None:
    """Above 4 GB the number in the header begins again at 0."""
    path = tmp_path / name
    soundfile.write(path, WAVE, 16000, **FORMATS[name])
    content = bytearray(path.read_bytes())
    offset = content.find(b"data") + 4 if name.endswith("wav") else 8
    content[offset : offset + 4] = (1000).to_bytes(4, order)
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: truncated: its header promises 1000 bytes of sound, and 95000 bytes behind them"):
        audio_seconds(str(path))


def test_chunks_and_zeros_behind_the_sound_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16000)
    content = path.read_bytes()
    chunk = b"iXML" + (100001).to_bytes(4, "little") + bytes(100002)
    for behind in (chunk, chunk * 2, bytes(100000), chunk + bytes(100000), b"TAG" * 100):
        path.write_bytes(content + behind)
        assert audio_seconds(str(path)) == 3.0


def test_a_chunk_that_leads_back_ends_the_check(tmp_path: Path) -> None:
    """A W64 chunk of no length would be read for ever."""
    path = tmp_path / "a.w64"
    soundfile.write(path, WAVE, 16000)
    data = path.read_bytes()
    path.write_bytes(data[:56] + bytes(8) + data[64:])  # the length of the first chunk behind `wave`
    with open(path, "rb") as file, limited(30):
        assert truncated(file, "W64") is None
