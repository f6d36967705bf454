"""Files and folders appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from m2asr.files import open_atomic, replace_dir


class Broken(Exception):
    """What goes wrong in the middle."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    with open_atomic(tmp_path / "a/b/text") as file:
        file.write("один\n")
        assert not (tmp_path / "a/b/text").exists()
    assert (tmp_path / "a/b/text").read_bytes() == "один\n".encode()
    with open_atomic(tmp_path / "a/b/text", "wb") as file:
        file.write(b"\0\1")
    assert (tmp_path / "a/b/text").read_bytes() == b"\0\1" and names(tmp_path / "a/b") == ["text"]


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_a_failure_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "text"
    path.write_text("old")
    with pytest.raises(error), open_atomic(path) as file:
        file.write("new")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["text"]


def test_a_failure_leaves_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(Broken), open_atomic(tmp_path / "text") as file:
        file.write("new")
        raise Broken
    assert names(tmp_path) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "parent/folder"
    with replace_dir(path) as temporary:
        (temporary / "one").write_text("1")
        assert not path.exists()
    with replace_dir(path) as temporary:
        (temporary / "two").write_text("2")
        assert names(path) == ["one"]
    assert names(path) == ["two"] and names(tmp_path / "parent") == ["folder"]


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_a_failure_keeps_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "folder"
    with replace_dir(path) as temporary:
        (temporary / "one").write_text("1")
    with pytest.raises(error), replace_dir(path) as temporary:
        (temporary / "two").write_text("2")
        raise error
    assert names(path) == ["one"] and names(tmp_path) == ["folder"]


KILLED = """
import os, signal, sys
from m2asr.files import open_atomic
with open_atomic(sys.argv[1]) as file:
    file.write("new")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_while_writing_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, path])
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


FULL = """
import sys
from m2asr.bin.command import run
from m2asr.files import open_atomic, replace_dir

def main(argv):
    with open_atomic(sys.argv[1] + "/small") as file:
        file.write("fits")
    with open_atomic(sys.argv[1] + "/text", "wb") as file:
        file.write(b"new" * 2**20)

run(main)
"""


@pytest.fixture
def full_disk(tmp_path: Path):
    """A file system of 64 KiB, mounted for the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def check_full(folder: Path, program: str) -> None:
    (folder / "text").write_text("old")
    done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write") and done.stderr.count("\n") == 1, done.stderr
    assert (folder / "text").read_text() == "old" and (folder / "small").read_text() == "fits"
    assert names(folder) == ["small", "text"]


def test_a_full_disk_is_one_line_and_keeps_the_old_file(full_disk: Path) -> None:
    check_full(full_disk, FULL)


def test_a_file_size_limit_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    check_full(tmp_path, f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n{FULL}")
