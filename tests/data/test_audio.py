from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2asr.data import pipes
from m2asr.data.audio import audio_seconds, read_audio
from m2asr.errors import UserError
from tests.fuzz.commands import limited

WAVE = np.random.default_rng(0).uniform(-0.5, 0.5, 32000).astype(np.float32)


def write(path: Path, wave: np.ndarray = WAVE, **options: object) -> str:
    soundfile.write(path, wave, 16000, **options)
    return str(path)


def test_reads_samples_and_stretches_of_them(tmp_path: Path) -> None:
    wav = write(tmp_path / "a.wav", subtype="FLOAT")
    wave, rate = read_audio(wav)
    assert rate == 16000 and wave.dtype == np.float32 and np.array_equal(wave, WAVE)
    assert np.array_equal(read_audio(wav, 0.5, 1.25)[0], WAVE[8000:20000])
    assert np.array_equal(read_audio(wav, 1.5, 99.0)[0], WAVE[24000:])


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("read", [read_audio, audio_seconds])
def test_truncated_files_are_told(name: str, read: Callable[[str], object], tmp_path: Path) -> None:
    path = Path(write(tmp_path / name))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"{name}") as error:
        read(str(path))
    assert "\n" not in str(error.value)


def test_files_that_are_no_mono_audio_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    for wav, message in (
        (str(tmp_path / "gone.wav"), "cannot read this recording: No such file or directory"),
        (str(tmp_path / "text.wav"), "cannot read"),
        (str(tmp_path), "cannot read"),
        (write(tmp_path / "two.wav", np.stack([WAVE, WAVE], axis=1)), "2 channels"),
    ):
        with pytest.raises(UserError, match=message) as error:
            read_audio(wav)
        assert "\n" not in str(error.value)


def test_commands_run_only_where_allowed_and_without_a_shell(tmp_path: Path) -> None:
    wav = write(tmp_path / "a.wav", subtype="FLOAT")
    assert np.array_equal(read_audio(f"cat {wav} |", allow_pipes=True)[0], WAVE)
    for command, allow, message in (
        (f"touch {tmp_path}/hacked |", False, "--allow_pipes"),
        (f"cat {wav}; touch {tmp_path}/hacked |", True, "`;` needs a shell; write programs with"),
        (f"cat {wav} > {tmp_path}/hacked |", True, "`>` needs a shell"),
        (f'cat "$(touch {tmp_path}/hacked)" |', True, "needs a shell"),
        (f"cat {wav} | | cat |", True, "a program is missing"),
        (f"cat {wav} | false |", True, "exit code 1: it printed no reason"),
        (f"cat {tmp_path}/gone.wav | cat |", True, "exit code 1: cat: .*gone.wav"),
        ("cat 'a |", True, "cannot run"),
        ("no_such_program |", True, "cannot run"),
        ("true |", True, "cannot read"),
    ):
        with pytest.raises(UserError, match=message) as error:
            read_audio(command, allow_pipes=allow)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "hacked").exists()


def test_commands_may_be_joined_by_pipes(tmp_path: Path) -> None:
    wav = write(tmp_path / "a | b.wav", subtype="FLOAT")
    (tmp_path / "odd.wav").write_bytes(b"xx" + Path(wav).read_bytes())
    for command in (f"cat '{wav}' | cat - 2>/dev/null |", f'gzip -c "{wav}" | gzip -dc | cat |', f"tail -c +3 {tmp_path}/odd.wav | cat |"):
        assert np.array_equal(read_audio(command, allow_pipes=True)[0], WAVE)
    assert len(read_audio(f"cat '{wav}' | head -c 1000000 | cat |", allow_pipes=True)[0]) == len(WAVE)


def test_a_command_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "MOST", 10 << 20)
    with limited(30), pytest.raises(UserError, match=r"`yes \| cat \|`: its output does not end after 10 MB"):
        read_audio("yes | cat |", allow_pipes=True)


def test_telephone_recordings_that_cannot_be_searched(tmp_path: Path) -> None:
    wav = str(tmp_path / "gsm.wav")
    soundfile.write(wav, WAVE[::2], 8000, subtype="GSM610")
    whole, rate = read_audio(wav)
    assert rate == 8000 and len(whole) >= len(WAVE) // 2
    assert np.array_equal(read_audio(wav, 0.5, 1.0)[0], whole[4000:8000])


def test_a_rate_that_no_recording_has(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16000)
    path.write_bytes(path.read_bytes()[:24] + (2**31 - 1).to_bytes(4, "little") + path.read_bytes()[28:])
    for read in (read_audio, audio_seconds):
        with pytest.raises(UserError, match="its header says 2147483647 Hz, which is no sample rate"):
            read(str(path))
