"""Players: links that lead to the recordings, copies that sound like them, and those that have neither."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile

from m2asr.data.recordings import Item
from m2asr.score.page_audio import audio_sources
from tests.conftest import CORPUS

PAGE = Path("exp/run/report.html")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """The folder that wav.scp's paths start from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tone(path, seconds=1.0, rate=16000, **kind):
    """A recording whose pitch rises, so that its stretches differ."""
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time), rate, **kind)


def item(wav, *stretch):
    return Item("utt", "wav.scp:1", str(wav), *stretch)


def samples(source):
    kind, _, data = source.partition(";base64,")
    assert kind.startswith("data:audio/")
    return soundfile.read(io.BytesIO(base64.b64decode(data)))


def spectrum(wave):
    power = np.abs(np.fft.rfft(wave, 1 << 15))
    return power / np.linalg.norm(power)


@pytest.mark.parametrize("name", ["a.wav", "one #1? 100%.wav", "ви'де\"о<b>.flac", "a:b.wav"])
def test_a_link_leads_from_the_page_to_the_file(recipe, name):
    tone(recipe / name)
    (address,), missing = audio_sources([item(name)], PAGE)
    assert not urlsplit(address).scheme and not urlsplit(address).fragment and not missing
    assert os.path.normpath(PAGE.parent / unquote(urlsplit(address).path)) == name


def test_absolute_paths_stay_absolute(recipe):
    path = next((CORPUS / "audio/it").glob("*.opus")).resolve()
    (address,), _ = audio_sources([item(path)], PAGE)
    assert address.startswith("file:///") and unquote(urlsplit(address).path) == str(path)


def test_a_segment_is_a_link_with_its_seconds(recipe):
    tone(recipe / "a.flac", 3)
    addresses, _ = audio_sources([item("a.flac", 0.25, 1.5), item("a.flac", 1.5), item("a.flac", 0.0, 2.0)], PAGE)
    assert [urlsplit(address).fragment for address in addresses] == ["t=0.25,1.50", "t=1.50", "t=0.00,2.00"]


@pytest.mark.parametrize(("file", "rate", "coding"), [("a.aiff", 16000, "PCM_16"), ("a.wav", 8000, "IMA_ADPCM"), ("a.w64", 9999, "PCM_16")])
def test_a_copy_holds_the_stretch(recipe, file, rate, coding):
    tone(recipe / file, 2, rate, subtype=coding)
    (source,), missing = audio_sources([item(file, 0.5, 1.5)], PAGE)
    wave, source_rate = samples(source)
    assert source_rate == rate and len(wave) / rate == pytest.approx(1.0, abs=0.2) and not missing
    expected, _ = soundfile.read(file)
    inside, before = (spectrum(wave) @ spectrum(expected[round(start * rate) : round((start + 1) * rate)]) for start in (0.5, 0.0))
    assert inside > 1.5 * before


def test_copies_end_at_a_limit_and_links_go_on(recipe):
    tone(recipe / "a.aiff")
    tone(recipe / "a.wav")
    addresses, missing = audio_sources([item("a.aiff"), item("a.aiff"), item("a.wav"), item("a.aiff")], PAGE, largest=10)
    assert [bool(address) for address in addresses] == [True, False, True, False]
    assert missing == {"beyond 1e-05 MB of copies": 2}


def test_commands_are_not_run_and_nothing_is_made_of_nothing(recipe):
    (recipe / "noise.wav").write_bytes(b"RIFF or not")
    soundfile.write("two.aiff", np.zeros((100, 2)), 16000)
    addresses, missing = audio_sources([item("touch ran |"), item("none.wav"), item("noise.wav"), item("two.aiff")], PAGE)
    assert addresses[:3] == [""] * 3 and missing == {"command in wav.scp": 1, "unreadable": 2}
    assert addresses[3].startswith("data:audio/")  # the mean of its channels
    assert not (recipe / "ran").exists()
