"""python -m m2asr.bin.transcribe as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2asr.data.audio import read_audio
from m2asr.data.directory import read_table
from tests.conftest import ROOT, command
from tests.decode.test_transcriber import alike
from tests.decode.trained import quiet, trained_once

RATE = 16000


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), ["recordings"]),
        (("a.wav", "--format", "doc"), ["'doc'", "srt"]),
        (("a.wav", "--longest", "1"), ["--longest"]),
        (("a.wav", "--set", "beam=3"), ["--config"]),
        (("a.wav", "--chanels", "each"), ["did you mean --channels?"]),
    ],
)
def test_options_that_do_not_fit_together_are_an_error(args, words):
    result = command("transcribe", *args, "--exp", "exp/x")
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and all(word in result.stderr for word in words), result.stderr


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, mini_data: Path) -> Path:
    return trained_once(tmp_path_factory, mini_data)


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Italian sentences in calls/a.wav, English ones in calls/deep/a.flac, and a text file beside them."""
    out = tmp_path_factory.mktemp("recordings")
    (out / "calls/deep").mkdir(parents=True)
    (out / "calls/notes.txt").write_text("no audio")
    for name, path in (("some_it", "calls/a.wav"), ("some_en", "calls/deep/a.flac")):
        waves = [np.concatenate([quiet(1.0), read_audio(wav)[0]]) for wav in read_table(root / "data" / name / "wav.scp").values()]
        soundfile.write(out / path, np.concatenate([*waves, quiet(1.0)]), RATE)
    return out


def texts(root: Path, name: str) -> list[str]:
    return list(read_table(root / "data" / name / "text").values())


@pytest.mark.slow
def test_a_folder_in_two_languages(root, folder, tmp_path):
    pytest.importorskip("silero_vad")
    formats = ("txt", "json", "srt", "vtt", "ctm")
    result = command("transcribe", folder / "calls", "--exp", root / "exp", "--out", tmp_path, "--format", *formats)
    assert result.returncode == 0, result.stderr
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("[!.]*.*")}
    assert written == {f"{stem}.{kind}" for stem in ("a", "deep/a") for kind in formats}
    for stem, name in (("a", "some_it"), ("deep/a", "some_en")):
        data, text = (json.loads((tmp_path / f"{stem}.json").read_text()), (tmp_path / f"{stem}.txt").read_text())
        assert data["language"] == name[-2:] and alike(data["text"], texts(root, name)) and " ".join(text.split()) == data["text"]
        assert all(line in result.stdout for line in text.splitlines()) and f"({name[-2:]}):" in result.stdout
        rows = [line.split() for line in (tmp_path / f"{stem}.ctm").read_text().splitlines()]
        assert [row[4] for row in rows] == data["text"].split() and {row[0] for row in rows} == {"a"}
        assert (tmp_path / f"{stem}.srt").read_text().count(" --> ") == (tmp_path / f"{stem}.vtt").read_text().count(" --> ") > 0


@pytest.mark.slow
def test_translation_and_a_decode_config(root, folder, tmp_path):
    config = ROOT / "egs/mini/conf/decode.yaml"
    search = ("--config", config, "--set", "method=prefix_beam", "beam=4")
    options = ("--exp", root / "exp", "--cut", "windows", "--longest", 4, "--lang", "it", "--to", "en", "--format", "txt", "srt")
    result = command("transcribe", folder / "calls/a.wav", *options, *search, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"a.txt", "a.srt", "a.en.txt", "a.en.srt"}
    assert (tmp_path / "a.en.txt").read_text() and (tmp_path / "a.txt").read_text() in result.stdout
    assert "(it):" in result.stdout and "(en):" in result.stdout


@pytest.mark.slow
def test_bad_recordings_are_named_and_the_others_are_transcribed(root, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.wav").write_text("no audio")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE // 100), RATE)
    soundfile.write(tmp_path / "cut.wav", read_audio(str(folder / "calls/a.wav"))[0], RATE)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:100000])
    names = ["empty", "broken.wav", "none.wav", "gone.wav", "silence.wav", "cut.wav"]
    messages = ["no recording in this folder", "cannot read", "0 samples", "No such file", "no speech was found", "truncated: its header"]
    out, recordings = tmp_path / "out", [*(tmp_path / name for name in names), folder / "calls/a.wav"]
    result = command("transcribe", *recordings, "--exp", root / "exp", "--lang", "it", "--out", out)
    assert result.returncode == 1
    for name, message in zip(names, messages, strict=True):
        lines = [line for line in result.stderr.splitlines() if f"{name}:" in line]
        assert len(lines) == 1 and message in lines[0], result.stderr
    assert "5 of 7 could not be transcribed to their end" in result.stderr and "Traceback" not in result.stderr
    assert {path.name for path in out.glob("[!.]*")} == {f"{stem}.{kind}" for stem in ("silence", "cut", "a") for kind in ("txt", "json")}
    assert (out / "silence.txt").read_text() == "" and (out / "a.txt").read_text()


@pytest.mark.slow
def test_languages_without_a_head_are_named_once(root, folder, tmp_path):
    for options, message in (
        (("--lang", "fr"), "no head reads fr; there are heads for en, it"),
        (("--lang", "it", "--to", "fr"), "no head translates it into fr; translations of this system: it into en"),
        (("--lang", "en", "--to", "it"), "no head translates en into it; translations of this system: it into en"),
    ):
        result = command("transcribe", folder / "calls", "--exp", root / "exp", "--out", tmp_path, *options)
        assert result.returncode == 1 and message in result.stderr and result.stderr.count("error") == 1, result.stderr
        assert not list(tmp_path.glob("[!.]*"))


@pytest.mark.slow
def test_ctrl_c_leaves_only_complete_files(root, folder, tmp_path):
    """An interruption in the middle of many recordings leaves the files of those that are finished, and no incomplete file."""
    (folder / "many").mkdir()
    for number in range(200):
        (folder / f"many/{number:03d}.wav").symlink_to(folder / "calls/a.wav")
    line = [sys.executable, "-m", "m2asr.bin.transcribe", folder / "many", "--exp", root / "exp", "--out", tmp_path, "--lang", "it"]
    line = [*map(str, line), "--cut", "windows"]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.time() + 60
    while not (tmp_path / "003.json").exists() and time.time() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    names = sorted(path.name for path in tmp_path.glob("[!.]*"))
    assert 4 < len(names) < 400 and not any(name.startswith(".") for name in names)
    for path in tmp_path.glob("*.json"):
        assert json.loads(path.read_text())["segments"] and path.with_suffix(".txt").exists()
