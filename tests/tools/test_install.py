"""Set-up: what it refuses before anything is fetched, and when it has nothing to do."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

cleared: list[bool] = []  # of every virtual environment that was made, whether it was made anew
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/install.py, for a checkout in tmp_path."""
    specification = importlib.util.spec_from_file_location("install", ROOT / "tools/install.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    for name in ("setup.py", "constraints.txt", "constraints-torch2.11.txt"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    for name, path in (("VENV", ""), ("STAMP", ".ready"), ("CHOICE", ".constraints"), ("PYTHON", "bin/python")):
        monkeypatch.setattr(module, name, tmp_path / ".venv" / path)
    monkeypatch.setattr(module, "is_ours", lambda: (tmp_path / ".venv/bin").is_dir())
    return module


def commands(install: ModuleType, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> list[str]:
    """The commands that set-up would run; the one that holds the word `fails` fails."""
    ran: list[str] = []
    cleared.clear()

    def run(command: list[str], problem: str) -> None:
        ran.append(" ".join(command))
        if "venv" in command:
            (install.VENV / "bin").mkdir(parents=True, exist_ok=True)
            cleared.append("--clear" in command)
        if fails and fails in ran[-1]:
            raise install.SetupError(problem)

    monkeypatch.setattr(install, "run", run)
    return ran


def test_it_installs_once_and_again_when_the_versions_change(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = commands(install, monkeypatch)
    install.install("constraints.txt", 0)
    assert [word in line for word, line in zip(("-m venv", "pip setuptools", "--editable", "bin.check"), ran, strict=True)] == [True] * 4
    assert all(f"--constraint {install.ROOT / 'constraints.txt'}" in line for line in ran[1:3])
    install.install("constraints.txt", 0)
    assert len(ran) == 4
    with open(install.ROOT / "constraints.txt", "a", encoding="utf-8") as file:
        file.write("new==1.0\n")
    install.install("constraints.txt", 0)
    assert len(ran) == 8


def test_a_replaced_package_is_installed_again_an_added_one_is_not(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = install.VENV / "lib/python3.11/site-packages"
    (folder / "torch-2.14.1.dist-info").mkdir(parents=True)
    ran = commands(install, monkeypatch)
    install.install("constraints.txt", 0)
    (folder / "new-1.0.dist-info").mkdir()
    install.install("constraints.txt", 0)
    assert len(ran) == 4
    (folder / "torch-2.14.1.dist-info").rename(folder / "torch-2.11.0.dist-info")
    install.install("constraints.txt", 0)
    assert len(ran) == 8


@pytest.mark.parametrize("fails", ["", "pip setuptools"])
def test_a_choice_of_versions_holds_from_then_on(install: ModuleType, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    commands(install, monkeypatch, fails)
    assert install.last_constraints() == "constraints.txt"
    with nullcontext() if not fails else pytest.raises(install.SetupError):
        install.install("constraints-torch2.11.txt", 0)
    assert install.last_constraints() == "constraints-torch2.11.txt"


def test_what_was_moved_or_has_lost_its_python_is_made_anew(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(install, monkeypatch)
    install.install("constraints.txt", 0)
    lines = install.STAMP.read_text().splitlines()
    assert lines[2] == str(install.ROOT)
    for change in (lambda: install.STAMP.write_text("\n".join([*lines[:2], "/elsewhere"])), lambda: (install.VENV / "bin").rmdir()):
        change()
        ran = commands(install, monkeypatch)
        install.install("constraints.txt", 0)
        assert len(ran) == 4 and cleared == [True]


@pytest.mark.parametrize("step", ["-m venv", "pip setuptools", "--editable", "bin.check"])
def test_what_was_not_finished_is_done_again(install: ModuleType, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    commands(install, monkeypatch, fails=step)
    with pytest.raises(install.SetupError):
        install.install("constraints.txt", 0)
    assert not install.STAMP.exists()
    ran = commands(install, monkeypatch)
    install.install("constraints.txt", 0)
    assert len(ran) == 4 and install.STAMP.exists()


def test_too_little_disk_is_told_before_anything_is_fetched(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = commands(install, monkeypatch)
    monkeypatch.setattr(install.shutil, "disk_usage", lambda folder: Usage(10, 6, 4e9))
    with pytest.raises(install.SetupError, match=r"4\.0 GB are free, .*DISK_GB=3"):
        install.install("constraints.txt", None)
    assert not any(" pip " in line for line in ran)
    install.install("constraints.txt", 3)
    assert any("--editable" in line for line in ran)


def test_unknown_constraints_are_a_line(install: ModuleType) -> None:
    with pytest.raises(install.SetupError, match=r"^nope.txt: no such file; there is constraints-torch2.11.txt, constraints.txt$"):
        install.install("nope.txt", None)


def test_pip_keeps_its_own_settings_and_a_failure_is_a_line(tmp_path: Path) -> None:
    """A real run, from an index that does not answer: pip obeys the environment, .venv is left without its stamp."""
    for name in ("setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/install.py", tmp_path / "tools")
    environment = {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "HOME": str(tmp_path)}
    base = getattr(sys, "_base_executable", sys.executable)
    line = [base, "tools/install.py", "--disk_gb", "0.1"]
    result = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and result.stderr.splitlines()[-1].startswith("error: pip could not install"), result.stderr
    assert "ERROR: " in result.stderr and (tmp_path / ".venv").exists() and not (tmp_path / ".venv/.ready").exists()
