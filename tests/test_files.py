"""Files and folders appear completely or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from m2asr.data.recordings import read_items
from m2asr.data.texts import read_texts
from m2asr.data.validate import validate
from m2asr.files import _exchange, open_atomic, recover, replace_dir, temporary_dir
from m2asr.lm.sources import Sources


class Broken(Exception):
    """An error in the middle of writing."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".m2asr")


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
    with replace_dir(path, "features") as temporary:
        (temporary / "one").write_text("1")
        assert not path.exists()
    with replace_dir(path, "features") as temporary:
        (temporary / "two").write_text("2")
        assert names(path) == ["one"]
    assert names(path) == ["two"] and names(tmp_path / "parent") == ["folder"]


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_a_failure_keeps_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "folder"
    with replace_dir(path, "features") as temporary:
        (temporary / "one").write_text("1")
    with pytest.raises(error), replace_dir(path, "features") as temporary:
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
    process = subprocess.run([sys.executable, "-c", KILLED, path])
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


FOLDER_KILLED = """
import os, signal, sys
import m2asr.files
from m2asr.files import replace_dir
if sys.argv[2] == "between":  # where the old folder is moved away and the new one is not there yet: on disks that cannot exchange names
    m2asr.files._exchange = lambda first, second: False
    replace = os.replace
    def kill(source, target):
        replace(source, target)
        os.kill(os.getpid(), signal.SIGKILL)
    m2asr.files.os.replace = kill
if sys.argv[2] == "after":
    exchange = m2asr.files._exchange
    def kill(first, second):
        exchange(first, second)
        os.kill(os.getpid(), signal.SIGKILL)
    m2asr.files._exchange = kill
with replace_dir(sys.argv[1], "features") as folder:
    (folder / "two").write_text("2")
    if sys.argv[2] == "while":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(path: Path, when: str) -> None:
    """Replace a folder in a process that is killed while it writes, or between the two renames."""
    assert subprocess.run([sys.executable, "-c", FOLDER_KILLED, path, when]).returncode == -signal.SIGKILL


def test_leftovers_of_a_killed_process_go_away_when_its_target_is_written_again(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path / "text"]).returncode == -signal.SIGKILL
    killed(tmp_path / "folder", "while")
    leftovers = names(tmp_path)
    assert len(leftovers) == 2 and all(name.endswith(".tmp") for name in leftovers)
    with open_atomic(tmp_path / "text") as file:
        file.write("new")
    assert len(names(tmp_path)) == 2 and "text" in names(tmp_path)  # the folder's is left alone
    with replace_dir(tmp_path / "folder", "features"):
        pass
    assert names(tmp_path) == ["folder", "text"]


def test_a_folder_that_was_moved_away_when_its_process_was_killed_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with replace_dir(path, "features") as temporary:
        (temporary / "one").write_text("1")
    killed(path, "between")
    assert not path.exists()
    assert recover(path) == path and names(path) == ["one"]  # whoever reads it
    killed(path, "between")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert not link.exists() and names(recover(link)) == ["one"]
    link.unlink()
    killed(path, "between")
    assert not path.exists()
    with pytest.raises(Broken), replace_dir(path, "features"):
        raise Broken
    assert names(path) == ["one"] and names(tmp_path) == ["folder"]


def test_links_in_a_circle_are_no_folder_and_stay(tmp_path: Path) -> None:
    path, other = tmp_path / "folder", tmp_path / "other"
    path.symlink_to(other)
    other.symlink_to(path)
    assert recover(path) == path
    with pytest.raises(OSError), replace_dir(path, "features"):
        pass
    assert path.is_symlink() and names(tmp_path) == ["folder", "other"]


READERS = {
    "validate": lambda folder: validate(folder, audio=False),
    "texts": lambda folder: read_texts(folder, "text"),
    "recordings": read_items,
    "language models": lambda folder: Sources([folder]),
}


@pytest.mark.parametrize("reader", READERS)
def test_whoever_reads_a_data_directory_puts_it_back(reader: str, tmp_path: Path, mini_data: Path) -> None:
    path = tmp_path / "dev_it"
    writer = subprocess.Popen(["true"])  # that is no more
    writer.wait()
    shutil.copytree(mini_data / "dev_it", tmp_path / f".dev_it.{socket.gethostname()}.{writer.pid}.old")
    READERS[reader](path)
    assert (path / "text").is_file()


def test_names_are_exchanged_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with replace_dir(path, "features") as temporary:
        (temporary / "one").write_text("1")
    if not _exchange(tmp_path / "folder", tmp_path / "folder"):
        pytest.skip("this disk cannot exchange names")
    killed(path, "after")
    assert names(path) == ["two"]
    with pytest.raises(Broken), replace_dir(path, "features"):
        raise Broken
    assert names(path) == ["two"] and names(tmp_path) == ["folder"]


def test_temporaries_of_others_are_left_alone(tmp_path: Path) -> None:
    """By another process, on another machine, beside another target, or by somebody else."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True).stdout.strip()
    host = socket.gethostname()
    foreign = {f".a.elsewhere.{ended}.tmp", f".a.{host}.{os.getppid()}.tmp", f".a.b.{host}.{ended}.tmp"}
    foreign |= {f".a.{host}.tmp", f".a.{host}.x.tmp"}
    for name in foreign:
        (tmp_path / name).mkdir()
    (tmp_path / f".a.{host}.{ended}.tmp").mkdir()
    with replace_dir(tmp_path / "a", "features"):
        pass
    assert set(names(tmp_path)) == foreign | {"a"}
    shutil.rmtree(tmp_path / "a")
    with open_atomic(tmp_path / "a"):
        pass
    assert set(names(tmp_path)) == foreign | {"a"}


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
    process = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr.startswith("error: cannot write") and process.stderr.count("\n") == 1, process.stderr
    assert (folder / "text").read_text() == "old" and (folder / "small").read_text() == "fits"
    assert names(folder) == ["small", "text"]


def test_a_full_disk_is_one_line_and_keeps_the_old_file(full_disk: Path) -> None:
    check_full(full_disk, FULL)


def test_a_file_size_limit_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    check_full(tmp_path, f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n{FULL}")


SCRATCH = """
import os, signal, sys
from m2asr.files import temporary_dir
with temporary_dir(sys.argv[1]) as folder:
    (folder / "large").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_temporary_folder_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRATCH, tmp_path / "corpus"])
    assert len(names(tmp_path)) == 1
    with temporary_dir(tmp_path / "corpus") as folder:
        assert names(tmp_path) == [folder.name] and not names(folder)
    assert names(tmp_path) == []
