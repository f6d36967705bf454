from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
import torch
import yaml
from torchaudio.functional import resample

from m2asr.config import FbankConfig
from m2asr.data.ark import read_matrix
from m2asr.data.directory import read_table, write_table
from m2asr.data.extract import extract, is_up_to_date
from m2asr.data.index import UtteranceIndex
from m2asr.errors import UserError
from m2asr.features.cmvn import mean_and_scale
from m2asr.features.fbank import Fbank
from tests.conftest import ROOT, command

CONFIG = ROOT / "egs/mini/conf/fbank.yaml"


@pytest.fixture
def small(mini_data: Path, tmp_path: Path) -> Path:
    """A data directory with the first 40 utterances of dev_it."""
    data = tmp_path / "data" / "small"
    data.mkdir(parents=True)
    for name in ("wav.scp", "utt2spk", "utt2lang", "utt2dur", "text"):
        lines = (mini_data / "dev_it" / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (data / name).write_text("".join(lines[:40]), encoding="utf-8")
    return data


def edit(path: Path, changes: dict[int, str]) -> None:
    """Replace the values of some lines (from 1) of a table."""
    rows = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(f"{utt} {changes.get(n, value)}\n" for n, (utt, value) in enumerate(rows, 1)), encoding="utf-8")


def test_stores_the_features_of_every_utterance(mini_data: Path, mini_dump: Path) -> None:
    wavs = read_table(mini_data / "dev_en" / "wav.scp")
    frames = read_table(mini_dump / "dev_en" / "utt2num_frames")
    stored = kaldiio.load_scp(str(mini_dump / "dev_en" / "feats.scp"))  # Kaldi's own way to read them
    assert list(stored) == list(frames) == list(wavs)
    assert {path.name for path in (mini_dump / "dev_en").glob("*.ark")} == {"feats.1.ark", "feats.2.ark", "cmvn.ark"}
    fbank = Fbank()
    for utt, wav in wavs.items():
        wave, _ = soundfile.read(wav, dtype="float32")
        assert len(stored[utt]) == int(frames[utt])
        assert np.allclose(stored[utt], fbank(wave), atol=1e-3)


def test_statistics_normalize_the_set(mini_dump: Path) -> None:
    feats = np.concatenate(list(kaldiio.load_scp(str(mini_dump / "dev_en" / "feats.scp")).values()))
    mean, scale = mean_and_scale(read_matrix(mini_dump / "dev_en" / "cmvn.ark"))
    assert np.allclose(((feats - mean) * scale).mean(axis=0), 0, atol=1e-4)
    assert np.allclose(((feats - mean) * scale).std(axis=0), 1, atol=1e-4)


def test_the_number_of_processes_changes_nothing_and_paths_are_relative(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent.parent)
    for jobs in (1, 3):
        extract(small, Path(f"dump{jobs}/small"), FbankConfig(dither=1.0), jobs)
    by_one, by_three = (UtteranceIndex(small, f"dump{jobs}/small") for jobs in (1, 3))
    assert len(by_one) == len(by_three) == 40
    assert all(np.array_equal(by_one.feats(i), by_three.feats(i)) for i in range(40))
    assert np.array_equal(*(read_matrix(f"dump{jobs}/small/cmvn.ark") for jobs in (1, 3)))
    assert Path("dump1/small/feats.scp").read_text().split()[1].startswith("dump1/small/feats.1.ark:")


def test_compression_saves_space_and_costs_little(small: Path, tmp_path: Path) -> None:
    for compress in (True, False):
        extract(small, tmp_path / str(compress), FbankConfig(compress=compress), 1)
    size = {name: (tmp_path / name / "feats.1.ark").stat().st_size for name in ("True", "False")}
    assert size["True"] < 0.3 * size["False"]
    rough, exact = (UtteranceIndex(small, tmp_path / name) for name in ("True", "False"))
    assert max(np.abs(rough.feats(i) - exact.feats(i)).mean() for i in range(40)) < 0.05


def test_recordings_of_a_higher_rate_are_resampled_and_counted(small: Path, tmp_path: Path) -> None:
    wav = next(iter(read_table(small / "wav.scp").values()))
    wave, _ = soundfile.read(wav, dtype="float32")
    soundfile.write(tmp_path / "high.wav", resample(torch.from_numpy(wave), 16000, 48000).numpy(), 48000)
    edit(small / "wav.scp", {1: f"{tmp_path}/high.wav"})
    process = command("fbank", "--config", CONFIG, "--data", small.parent, "--dump", tmp_path / "dump", "small")
    assert process.returncode == 0, process.stderr
    assert "1 of 40 utterances resampled from 48000 Hz to 16000 Hz" in process.stdout
    feats = UtteranceIndex(small, tmp_path / "dump/small").feats(0)
    assert np.abs(feats - Fbank()(wave))[:, :70].mean() < 0.05


def test_kept_features_are_those_of_the_same_recordings(small: Path, tmp_path: Path) -> None:
    dump = tmp_path / "small"
    assert not is_up_to_date(small, dump, FbankConfig())
    extract(small, dump, FbankConfig(), 1)
    os.utime(small / "wav.scp")  # prepared again, the same
    assert is_up_to_date(small, dump, FbankConfig()) and is_up_to_date(small, dump, FbankConfig(compress=True))
    with pytest.raises(UserError, match=r"features have num_mel_bins 80; .* another --dump"):
        is_up_to_date(small, dump, FbankConfig(num_mel_bins=40))
    edit(small / "wav.scp", {1: "/elsewhere.wav"})
    assert not is_up_to_date(small, dump, FbankConfig())


def test_the_sets_of_training_configs_are_computed(mini_data: Path, tmp_path: Path) -> None:
    config = "model: {encoder: conformer}\nstreams: {en: {sets: [%s], dev: [dev_it]}}\nobjectives: {cpc: {type: cpc, stream: en}}\n"
    (tmp_path / "one.yaml").write_text(config % "dev_ru")
    (tmp_path / "two.yaml").write_text(config % "train_xx, dev_ru")
    options = ["--config", CONFIG, "--data", mini_data, "--dump", tmp_path / "dump", "--keep", "--train_config"]
    process = command("fbank", *options, tmp_path / "one.yaml", tmp_path / "two.yaml")
    assert process.returncode == 1 and "two.yaml: it reads train_xx, and" in process.stderr and not (tmp_path / "dump").exists()
    for state in ("x real time", "kept"):
        process = command("fbank", *options, tmp_path / "one.yaml", "--train_set", "streams.en.sets=[dev_en]")
        assert process.returncode == 0 and process.stdout.count(state) == 2, process.stdout + process.stderr
    assert sorted(os.listdir(tmp_path / "dump")) == ["dev_en", "dev_it"]


def test_segments_cut_recordings(small: Path, tmp_path: Path) -> None:
    (recording, wav), *_ = read_table(small / "wav.scp").items()
    write_table(small / "wav.scp", {recording: wav})
    write_table(small / "segments", {f"{recording}-a": f"{recording} 0.0 0.4", f"{recording}-b": f"{recording} 0.2 -1"})
    extract(small, tmp_path / "dump", FbankConfig(), 1)
    wave, rate = soundfile.read(wav, dtype="float32")
    stored = kaldiio.load_scp(str(tmp_path / "dump" / "feats.scp"))
    assert np.allclose(stored[f"{recording}-a"], Fbank()(wave[: int(0.4 * rate)]), atol=1e-3)
    assert np.allclose(stored[f"{recording}-b"], Fbank()(wave[int(0.2 * rate) :]), atol=1e-3)


def test_all_bad_recordings_are_counted_and_named_and_the_old_features_stay(small: Path, tmp_path: Path) -> None:
    """Through the real command: one line, exit code 1, nothing lost, nothing half-written, no command run."""
    dump = tmp_path / "dump"
    extract(small, dump / "small", FbankConfig(), 1)
    before = {path.name: path.read_bytes() for path in (dump / "small").iterdir()}

    longest = max(read_table(small / "wav.scp").values(), key=os.path.getsize)
    (tmp_path / "cut.opus").write_bytes(Path(longest).read_bytes()[: os.path.getsize(longest) // 2])
    soundfile.write(tmp_path / "slow.wav", np.zeros(80_000), 8000)
    soundfile.write(tmp_path / "cut.wav", np.zeros(80_000), 16000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:50_000])
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16000)
    (tmp_path / "noise.opus").write_bytes(b"no audio" * 500)
    bad = {
        1: ("/nowhere/x.wav", "No such file"),
        2: (f"touch {tmp_path}/hacked |", "--allow_pipes"),
        3: (f"{tmp_path}/cut.opus", "truncated"),
        4: (f"{tmp_path}/slow.wav", "8000 Hz"),
        5: (f"{tmp_path}/cut.wav", "truncated"),
        6: (f"{tmp_path}/short.wav", "0.006 s are shorter than a window of 25 ms"),
        40: (f"{tmp_path}/noise.opus", "cannot read"),
    }
    edit(small / "wav.scp", {number: wav for number, (wav, _) in bad.items()})
    edit(small / "utt2dur", {3: str(soundfile.info(longest).duration), 6: "0.006"})

    process = command("fbank", "--config", CONFIG, "--data", small.parent, "--dump", dump, "small")
    assert process.returncode == 1
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert "7 of 40 utterances cannot be used" in line
    utts = list(read_table(small / "wav.scp"))
    for number, (_, reason) in bad.items():
        assert reason in line.split(f"wav.scp:{number}: {utts[number - 1]}: ")[1].split("wav.scp:")[0]
    assert not (tmp_path / "hacked").exists()
    assert {path.name: path.read_bytes() for path in (dump / "small").iterdir()} == before
    assert os.listdir(dump) == ["small"]


def test_only_ten_are_named(small: Path, tmp_path: Path) -> None:
    edit(small / "wav.scp", {n: "/nowhere/x.wav" for n in range(1, 31)})
    with pytest.raises(UserError, match=r"^30 of 40 .*; and 20 more; drop them with: python -m m2asr.bin.fix_data_dir .*small$") as error:
        extract(small, tmp_path / "dump", FbankConfig(), 2)
    assert str(error.value).count("No such file") == 10


def test_commands_run_only_where_allowed(small: Path, tmp_path: Path) -> None:
    wav = tmp_path / "a.wav"
    soundfile.write(wav, np.random.default_rng(0).normal(scale=0.1, size=80_000), 16000)
    edit(small / "wav.scp", {1: f"cat {wav} |"})
    extract(small, tmp_path / "dump", FbankConfig(), 1, allow_pipes=True)
    assert next(iter(read_table(tmp_path / "dump" / "utt2num_frames").values())) == "498"


def writing(data: Path, dump: Path) -> subprocess.Popen[str]:
    """The command fbank, in a session of its own, that has begun to write features."""
    line = [sys.executable, "-m", "m2asr.bin.fbank", "--config", str(CONFIG), "--data", str(data), "--dump", str(dump), "--nj", "2"]
    running = subprocess.Popen([*line, "train_en", "train_it"], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(dump.glob(".train_*/feats.1.ark")) and time.monotonic() < deadline:
        time.sleep(0.01)
    return running


def test_kill_9_ends_its_processes_too(mini_data: Path, tmp_path: Path) -> None:
    running = writing(mini_data, tmp_path / "dump")
    running.kill()
    running.wait(timeout=60)
    with pytest.raises(ProcessLookupError):  # there is no process left in its session
        for _ in range(600):
            os.killpg(running.pid, 0)
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGKILL)


def test_ctrl_c_leaves_nothing(mini_data: Path, tmp_path: Path) -> None:
    running = writing(mini_data, tmp_path / "dump")
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the command and its processes
    _, messages = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in messages and "interrupted" in messages
    assert os.listdir(tmp_path / "dump") == []


@pytest.mark.parametrize(
    "options, code, message",
    [
        (["--nj", "0"], 2, "--nj 0: at least one process"),
        (["--nj", "many"], 2, "--nj"),
        (["--set", "low_freq=9000", "--nj", "1"], 1, "low_freq 9000"),
        (["--set", "num_mel_binz=40", "--nj", "1"], 1, "did you mean `num_mel_bins`"),
        (["--dumb", "x"], 2, "did you mean --dump"),
    ],
)
def test_wrong_options_end_in_one_line(options: list[str], code: int, message: str, small: Path, tmp_path: Path) -> None:
    process = command("fbank", "--config", CONFIG, "--data", small.parent, "--dump", tmp_path / "dump", "small", *options)
    assert process.returncode == code and message in process.stderr and process.stderr.count("\n") == 1
    assert not (tmp_path / "dump").exists()


def test_broken_data_directories_are_named(small: Path, tmp_path: Path) -> None:
    for name, content, message in (
        ("wav.scp", None, r"wav\.scp: not found; run stage 0"),
        ("wav.scp", "", r"wav\.scp: this set has no utterance"),
        ("wav.scp", "a x.wav\na x.wav\n", r"wav\.scp:2: a: this id has two lines in the file"),
        ("utt2dur", f"{next(iter(read_table(small / 'wav.scp')))} soon\n", r"utt2dur.*`soon` is not a number"),
        ("segments", "a-1 nowhere 0 1\n", r"segments:1: a-1: write `utterance recording start end`"),
    ):
        data = shutil.copytree(small, tmp_path / "copy")
        (data / name).unlink(missing_ok=True)
        if content is not None:
            (data / name).write_text(content)
        with pytest.raises(UserError, match=message):
            extract(data, tmp_path / "dump", FbankConfig(), 1)
        shutil.rmtree(data)


def test_the_resolved_config_lies_beside_the_features(mini_dump: Path) -> None:
    assert FbankConfig(**yaml.safe_load((mini_dump / "dev_en" / "fbank.yaml").read_text())) == FbankConfig()
