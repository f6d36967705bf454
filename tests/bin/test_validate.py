"""Bad data directories, as a user meets them: the messages and exit codes of the commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT, command
from tests.data.test_validate import SPOILED

READS_NO_AUDIO = ("twice", "lost line", "raw text", "language", "contradiction")


def test_a_clean_directory_ends_with_0(small_data: Path) -> None:
    result = command("validate", small_data)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{small_data}: 12 utterances, no problem\n", "")


def test_problems_end_with_1_and_name_the_command_that_repairs_them(small_data: Path) -> None:
    """The report has every problem. The command that it names, run as printed, leaves a clean directory."""
    for name in READS_NO_AUDIO:
        SPOILED[name][0](small_data)
    result = command("validate", small_data)
    assert result.returncode == 1 and result.stderr == ""
    for name in READS_NO_AUDIO:
        assert f"{SPOILED[name][1]}: " in result.stdout
    (repair,) = [line.removeprefix("repair it with: ") for line in result.stdout.splitlines() if line.startswith("repair it with: ")]
    module, *args = repair.split()[2:]
    assert repair.startswith("python -m m2asr.bin.")
    mended = command(module.removeprefix("m2asr.bin."), *args)
    assert mended.returncode == 0 and "utterances kept" in mended.stdout and ".backup" in mended.stdout
    assert command("validate", small_data).returncode == 0


def test_bad_recordings_are_dropped_by_the_command_that_is_named(small_data: Path) -> None:
    SPOILED["truncated"][0](small_data)
    result = command("validate", small_data)
    assert result.returncode == 1 and "truncated: its header promises" in result.stdout
    assert f"fix_data_dir --check_wav {small_data}" in result.stdout
    mended = command("fix_data_dir", "--check_wav", small_data)
    assert mended.returncode == 0 and "11 utterances kept" in mended.stdout and "truncated" in mended.stdout
    assert command("validate", small_data).returncode == 0


def test_the_command_that_is_named_reads_recordings_as_the_config_says(small_data: Path, tmp_path: Path) -> None:
    """Without the config it would drop every stereo recording."""
    (tmp_path / "mix.yaml").write_text("channel: mix\n")
    lines = (small_data / "wav.scp").read_text().splitlines()
    for number, line in enumerate(lines):
        utt, wav = line.split()
        wave, rate = soundfile.read(wav)
        soundfile.write(tmp_path / f"{number}.wav", np.stack([wave, wave], axis=1), rate)
        lines[number] = f"{utt} {tmp_path}/{number}.wav"
    (small_data / "wav.scp").write_text("\n".join(lines) + "\n")
    (tmp_path / "0.wav").write_bytes(b"no sound")
    result = command("validate", "--config", tmp_path / "mix.yaml", small_data)
    advice = result.stdout.split("python -m m2asr.bin.fix_data_dir ")[1].split("\n")[0]
    assert advice == f"--check_wav --config {tmp_path}/mix.yaml {small_data}"
    assert "11 utterances kept" in command("fix_data_dir", *advice.split()).stdout


def test_a_problem_that_cannot_be_repaired_ends_with_1(small_data: Path) -> None:
    SPOILED["speaker"][0](small_data)
    result = command("fix_data_dir", small_data)
    assert result.returncode == 1 and "does not begin with its speaker zoe" in result.stdout


def test_a_command_in_wav_scp_is_not_run(small_data: Path, tmp_path: Path) -> None:
    first, *rest = (small_data / "wav.scp").read_text().splitlines(keepends=True)
    (small_data / "wav.scp").write_text("".join([f"{first.split()[0]} touch {tmp_path}/hacked |\n", *rest]))
    result = command("validate", small_data)
    assert result.returncode == 1 and "run only with --allow_pipes" in result.stdout
    result = command("fix_data_dir", "--check_wav", small_data)
    assert result.returncode == 1 and "--allow_pipes" in result.stderr
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["nowhere"], "nowhere: no such data directory; run stage 0"),
        ([], "the following arguments are required: folder"),
        (["--no_wave", "x"], "did you mean --no_wav"),
        (["--subsampling", "0", "x"], "--subsampling 0: it must be above 0"),
        (["--subsampling", "four", "x"], "--subsampling: give a whole number from 0 to 1000000000, not 'four'"),
    ],
)
def test_a_missing_directory_and_wrong_options_end_with_2(options: list[str], message: str) -> None:
    result = command("validate", *options)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["validate", "fix", "subset", "combine"])
def test_kaldi_names_reach_the_same_commands(name: str, small_data: Path) -> None:
    script = f"{name}_data.sh" if name == "combine" else f"{name}_data_dir.sh"
    args = {
        "validate": ["--no-wav", small_data],
        "fix": [small_data],
        "subset": ["--first", "5", small_data, small_data.parent / "five"],
        "combine": [small_data.parent / "all", small_data],
    }[name]
    result = subprocess.run([ROOT / "utils" / script, *args], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "12 utterances" in result.stdout.replace("five: 5", "12")
