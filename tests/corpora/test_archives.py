from __future__ import annotations

import hashlib
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m2asr.corpora.archives import archive, fetch_archives
from m2asr.errors import UserError
from m2asr.files import lock
from tests.conftest import ROOT
from tests.corpora.packing import packed, pin
from tests.corpora.server import Server

FILES = {"corpus/README": b"read me", "corpus/part/a/1.wav": b"one" * 1000, "corpus/part/b/2.wav": b"two" * 1000}
SMALL = packed(FILES)


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fetch(server: Server, out: Path, content: bytes, pinned: bool = True, remove: bool = False, growth: float = 2.0) -> str:
    """Serve an archive and fetch it."""
    server.files["/part.tar.gz"] = content
    size, checksum = pin(content) if pinned else (None, "")
    return fetch_archives([archive("part.tar.gz", size, checksum, server.address, "corpus/part", growth)], out, remove)


def test_a_part_is_fetched_once_and_again_when_it_is_gone(server: Server, tmp_path: Path) -> None:
    report = fetch(server, tmp_path, SMALL)
    complete = [".download.lock", "corpus/README", "corpus/part/.complete", "corpus/part/a/1.wav", "corpus/part/b/2.wav", "part.tar.gz"]
    assert listed(tmp_path) == complete and "1 archives, 1 fetched" in report and "--remove_archives removes them" in report
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES
    (tmp_path / "corpus/part/a/1.wav").write_bytes(b"mine")
    server.asked.clear()
    assert "1 archives, 0 fetched" in fetch(server, tmp_path, SMALL, remove=True)
    assert listed(tmp_path) == complete[:-1] and (tmp_path / "corpus/part/a/1.wav").read_bytes() == b"mine"
    fetch(server, tmp_path, SMALL)
    assert not server.asked and listed(tmp_path) == complete[:-1]
    shutil.rmtree(tmp_path / "corpus/part")
    fetch(server, tmp_path, SMALL)
    assert server.asked == ["/part.tar.gz"] and listed(tmp_path) == complete


def test_an_archive_that_is_there_is_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "part.tar.gz").write_bytes(SMALL)
    fetch(server, tmp_path, SMALL)
    assert not server.asked and (tmp_path / "corpus/part/.complete").exists()


def test_without_a_published_checksum_the_first_download_counts(server: Server, tmp_path: Path) -> None:
    report = fetch(server, tmp_path, SMALL, pinned=False, remove=True)
    assert report.endswith("part.tar.gz: no published checksum: size and archive integrity are checked; its SHA-256 is kept in "
                         "part.tar.gz.sha256 for later downloads")  # fmt: skip
    record = tmp_path / "part.tar.gz.sha256"
    assert record.read_text() == f"{hashlib.sha256(SMALL).hexdigest()}  part.tar.gz\n"
    shutil.rmtree(tmp_path / "corpus")
    changed = bytearray(SMALL)
    changed[4:8] = b"mine"  # the time in gzip's header: of the same size, and whole
    with pytest.raises(UserError, match="part.tar.gz: .* gives another file than the pinned one"):
        fetch(server, tmp_path, bytes(changed), pinned=False)
    assert listed(tmp_path) == [".download.lock", "part.tar.gz.sha256"]
    assert "no published" not in fetch(server, tmp_path, SMALL, pinned=False)
    assert (tmp_path / "corpus/part/b/2.wav").exists()


BROKEN = {
    "cut": (SMALL[: len(SMALL) * 2 // 3], "end-of-stream"),
    "cut before its checksum": (SMALL[:-8], "end-of-stream"),
    "spoiled": (SMALL[:-8] + b"12345678", "CRC check failed"),
    "a page instead": (b"<html>not found</html>", "Not a gzipped file"),
    "empty": (packed({}), "there is no corpus/part in it"),
    "another corpus": (packed({"other/part/1.wav": b"one"}), "there is no corpus/part in it"),
    "leads outside": (packed({**FILES, "corpus/../../evil": b"evil"}), "corpus/../../evil leads outside"),
    "leads to the root": (packed({**FILES, "/tmp/evil": b"evil"}), "/tmp/evil leads outside"),
    "cut inside": (packed({"corpus/part/S1.tar.gz": SMALL[:-20]}), "end-of-stream"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_archive_is_named_and_leaves_nothing_behind(name: str, server: Server, tmp_path: Path) -> None:
    content, message = BROKEN[name]
    out = tmp_path / "out"
    with pytest.raises(UserError) as error:
        fetch(server, out, content, pinned=False)
    text = str(error.value)
    assert text.startswith(f"{out}/part.tar.gz: not a complete archive (") and message in text and "\n" not in text, text
    assert text.endswith("); remove it and run the same command again")
    assert listed(tmp_path) == ["out/.download.lock", "out/part.tar.gz"]
    (out / "part.tar.gz").unlink()
    fetch(server, out, SMALL, pinned=False)
    assert (out / "corpus/part/.complete").exists()


def test_links_are_not_made_and_archives_in_an_archive_are_extracted(server: Server, tmp_path: Path) -> None:
    inner = packed({"train/S1/1.wav": b"one"})
    content = packed({"corpus/part/wav/S1.tar.gz": inner, "corpus/part/text": b"text"}, {"corpus/part/link": "/etc/passwd"})
    fetch(server, tmp_path, content, remove=True)
    assert listed(tmp_path / "corpus") == ["part/.complete", "part/text", "part/wav/train/S1/1.wav"]
    assert not (tmp_path / "corpus/part/link").is_symlink()


def test_a_folder_of_the_user_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "corpus/part").mkdir(parents=True)
    (tmp_path / "corpus/part/mine").touch()
    with pytest.raises(UserError, match=r"corpus/part: it exists, but .* or if it is complete: touch .*corpus/part/.complete$"):
        fetch(server, tmp_path, SMALL)
    assert not server.asked and listed(tmp_path) == [".download.lock", "corpus/part/mine"]
    (tmp_path / "corpus/part/.complete").touch()
    fetch(server, tmp_path, SMALL)
    assert not server.asked and listed(tmp_path) == [".download.lock", "corpus/part/.complete", "corpus/part/mine"]


def test_room_for_what_is_extracted_is_asked_for_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    growth = 2 * shutil.disk_usage(tmp_path).free / len(SMALL)
    message = r"--out .*: 0 MB are to come and up to \d+ MB to be extracted, \d+ MB are free; give a folder on another disk"
    with pytest.raises(UserError, match=message):
        fetch(server, tmp_path, SMALL, growth=growth)
    assert not server.asked
    (tmp_path / "part.tar.gz").write_bytes(SMALL)  # is there, and could not be extracted
    with pytest.raises(UserError, match=message):
        fetch(server, tmp_path, SMALL, growth=growth)
    assert listed(tmp_path) == [".download.lock", "part.tar.gz"]


def test_two_downloads_into_a_folder_do_not_meet(server: Server, tmp_path: Path) -> None:
    with lock(tmp_path / ".download.lock"), pytest.raises(UserError, match="another download into it is running"):
        fetch(server, tmp_path, SMALL)


def test_a_size_that_is_not_told_is_named(server: Server, tmp_path: Path) -> None:
    silent = f"{server.address}/nosize"
    for folder, message in ((silent, "the server does not tell its size"), (tmp_path.as_uri(), "there is no such file")):
        with pytest.raises(UserError, match=f"part.tar.gz: {message}"):
            fetch_archives([archive("part.tar.gz", None, "", folder, "corpus/part", 1.0)], tmp_path / "out")


SCRIPT = """
import sys
from pathlib import Path
from m2asr.bin.command import run
from m2asr.corpora.archives import archive, fetch_archives
size, checksum, folder, out = sys.argv[1:]
run(lambda _: print(fetch_archives([archive("part.tar.gz", int(size), checksum, folder, "corpus/part", 1.0)], Path(out))))
"""


def start(server: Server, content: bytes, out: Path, limit: int | None = None) -> subprocess.Popen[str]:
    """Fetch an archive in another process, which can write files of `limit` bytes."""

    def prepared() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests started by nohup would ignore it
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    server.files["/part.tar.gz"] = content
    line = [sys.executable, "-c", SCRIPT, *map(str, pin(content)), server.address, str(out)]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepared)


def test_a_disk_that_gets_full_while_extracting_is_named(server: Server, tmp_path: Path) -> None:
    content = packed({"corpus/part/1.wav": bytes(1_000_000)})
    process = start(server, content, tmp_path, limit=300_000)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and stderr.startswith(f"error: cannot write {tmp_path}/.part.tar.gz.extracting: "), stderr
    assert listed(tmp_path) == [".download.lock", "part.tar.gz"]
    fetch(server, tmp_path, content)
    assert (tmp_path / "corpus/part/1.wav").stat().st_size == 1_000_000


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_while_extracting_leaves_no_part_and_goes_on(how: signal.Signals, server: Server, tmp_path: Path) -> None:
    files = {f"corpus/part/{n // 100}/{n}.wav": b"%d" % n * 50 for n in range(4000)}
    content = packed(files)
    process = start(server, content, tmp_path)
    growing, deadline = tmp_path / ".part.tar.gz.extracting/corpus/part/3", time.monotonic() + 60
    while not growing.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(how)
    output = process.communicate(timeout=30)
    assert process.returncode == (130 if how is signal.SIGINT else -how), output
    assert not (tmp_path / "corpus").exists()
    assert (tmp_path / ".part.tar.gz.extracting").exists() == (how is signal.SIGKILL)
    server.asked.clear()
    assert "1 fetched or extracted now" in fetch(server, tmp_path, content)
    assert not server.asked and not (tmp_path / ".part.tar.gz.extracting").exists()
    assert len(listed(tmp_path / "corpus")) == len(files) + 1 and (tmp_path / "corpus/part/39/3999.wav").read_bytes() == b"3999" * 50
