"""The length of MP3s: that of their sound, with and without a header that tells it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2asr.data.audio import audio_seconds, read_audio
from m2asr.data.mp3 import _FRAME, _KBITS, _RATES
from m2asr.errors import UserError
from tests.corpora.trees import wave as speech

SILENCE = np.zeros(16000, dtype=np.float32)


def frames(content: bytes) -> Iterator[int]:
    """The offsets of the frames."""
    offset = 0
    while match := _FRAME.match(content, offset):
        yield offset
        header = int.from_bytes(match[0] + content[match.end() : match.end() + 1], "big")
        version, kbits, rate = header >> 19 & 3, header >> 12 & 15, header >> 10 & 3
        offset += (144000 if version == 3 else 72000) * _KBITS[version][kbits] // _RATES[version][rate] + (header >> 9 & 1)


def write(path: Path, wave: np.ndarray, rate: int = 16000) -> bytes:
    """An MP3 of variable bit rate; its first frame has no sound and holds the header."""
    soundfile.write(path, wave, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    return path.read_bytes()


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    return np.concatenate([speech(number) for number in (2, 3, 8)]).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("quiet_end", [0, 1, 2])
def test_without_a_header_all_that_decodes_is_read(rate: int, channels: int, quiet_end: int, wave: np.ndarray, tmp_path: Path) -> None:
    """libsndfile guesses from the bit rate of the first frame: far too much after silence, too little after speech."""
    wave = np.concatenate([SILENCE, wave] if quiet_end == 1 else [wave, SILENCE] if quiet_end else [wave])
    content = write(tmp_path / "a.mp3", np.stack([wave] * channels, axis=1), rate)
    whole = read_audio(str(tmp_path / "a.mp3"), channel="mix")[0]
    starts = list(frames(content))
    for name, changed in (
        ("bare.mp3", content[starts[1] :]),
        ("tagged.mp3", b"ID3\4\0\0\0\0\0\x0f" + b"\xff\xfb\x90\0" * 3 + b"\0" * 3 + content[starts[1] :] + b"TAG".ljust(128, b"\0")),
    ):
        path = tmp_path / name
        path.write_bytes(changed)
        read, _ = read_audio(str(path), channel="mix")
        assert len(whole) <= len(read) <= len(whole) + 2 * 1152 + 576  # with what the encoder adds at both ends
        assert audio_seconds(str(path)) == len(read) / rate
        middle = read_audio(str(path), 1.0, 1.5, channel="mix")[0]
        assert np.allclose(middle, read[rate : rate + rate // 2], atol=2e-3)


def test_joined_files_are_read_to_their_end(wave: np.ndarray, tmp_path: Path) -> None:
    """The header of the first one tells the length of the first one."""
    content = write(tmp_path / "a.mp3", wave)
    for name, joined in (("two.mp3", content * 2), ("bare.mp3", content[list(frames(content))[1] :] + content)):
        (tmp_path / name).write_bytes(joined)
        seconds = audio_seconds(str(tmp_path / name))
        assert seconds == pytest.approx(2 * len(wave) / 16000, abs=0.4)  # with what the encoder adds at all ends
        assert len(read_audio(str(tmp_path / name))[0]) == round(16000 * seconds)


def test_joined_files_of_different_rates_are_told(wave: np.ndarray, tmp_path: Path) -> None:
    """libsndfile reads the first one only."""
    first, second = write(tmp_path / "a.mp3", wave), write(tmp_path / "b.mp3", wave, 22050)
    stereo = write(tmp_path / "c.mp3", np.stack([wave, wave], axis=1))
    for name, joined in (("rate.mp3", first + second), ("channels.mp3", first + stereo)):
        (tmp_path / name).write_bytes(joined)
        with pytest.raises(UserError, match=f"{name}: .*its sample rate or channels change after"):
            audio_seconds(str(tmp_path / name))


def test_what_is_no_sound_is_told(wave: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "page.mp3").write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(UserError, match="page.mp3: cannot read this recording: it has no sound that libsndfile can read"):
        read_audio(str(tmp_path / "page.mp3"))
    content = write(tmp_path / "a.mp3", wave)
    (tmp_path / "zeros.mp3").write_bytes(content + bytes(9000))
    with pytest.raises(UserError, match="zeros.mp3: cannot read this recording: its sound is damaged, or what lies between or behind it"):
        read_audio(str(tmp_path / "zeros.mp3"))


def test_a_good_header_holds(wave: np.ndarray, tmp_path: Path) -> None:
    content = write(tmp_path / "a.mp3", wave)
    (tmp_path / "tag.mp3").write_bytes(content + b"TAG".ljust(128, b"\0"))
    for name in ("a.mp3", "tag.mp3"):
        assert audio_seconds(str(tmp_path / name)) == len(wave) / 16000
