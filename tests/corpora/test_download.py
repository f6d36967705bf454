from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m2asr.bin.download import main
from m2asr.corpora import download as module
from m2asr.corpora.debspeech.packages import HSK, PACKAGES, remotes
from m2asr.corpora.download import Remote, download
from m2asr.errors import UserError
from tests.conftest import ROOT, command
from tests.corpora.server import CONTENT, Server


def remote(origin: str, name: str = "one.bin", content: bytes = CONTENT) -> Remote:
    return Remote(name, len(content), hashlib.sha256(content).hexdigest(), origin)


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    files = [remote(f"{server.address}/{n}", f"{n}.bin") for n in range(6)]
    download(files, tmp_path / "out")
    assert listed(tmp_path / "out") == [f"{n}.bin" for n in range(6)] and (tmp_path / "out/3.bin").read_bytes() == CONTENT
    (tmp_path / "out/2.bin").write_bytes(CONTENT[::-1])  # of the same size
    (tmp_path / "out/4.bin").unlink()
    server.asked.clear()
    download(files, tmp_path / "out")
    assert sorted(server.asked) == ["/2", "/4"] and (tmp_path / "out/2.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["breaks", "norange/breaks", "busy", "busy408", "busy429"])
def test_goes_on_where_a_server_broke_off(path: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path == "norange/breaks":  # it never gets further, and says so
        monkeypatch.setattr(module, "TRIES", 2)
        with pytest.raises(UserError, match="norange/breaks: .*, 2 times; run the same command again to go on"):
            download([remote(f"{server.address}/{path}")], tmp_path)
        assert [name.endswith(".part") for name in listed(tmp_path)] == [True]
        return
    download([remote(f"{server.address}/{path}")], tmp_path)
    assert listed(tmp_path) == ["one.bin"] and (tmp_path / "one.bin").read_bytes() == CONTENT
    third = len(CONTENT) // 3
    resumed = [f"/{path}", f"/{path} bytes={third}-", f"/{path} bytes={2 * third}-"]
    assert server.asked == (resumed if path == "breaks" else [f"/{path}"] * 2)


def test_another_content_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    for content, problem in ((CONTENT[:-1] + b"x", "1024000 bytes with SHA-256 "), (CONTENT[:-5], "1024000 bytes, not 1023995")):
        with pytest.raises(UserError, match=f"one.bin: {server.address}/a gives another file than the pinned one: {problem}"):
            download([remote(f"{server.address}/a", content=content)], tmp_path)
        assert listed(tmp_path) == []
    with pytest.raises(UserError, match="/missing: it answers 404"):
        download([remote(f"{server.address}/missing")], tmp_path)
    with pytest.raises(UserError, match="nothing-there: there is no such file; correct"):
        download([remote((tmp_path / "nothing-there").as_uri())], tmp_path / "out")


def test_a_disk_that_is_too_small_is_named_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    big = remote(f"{server.address}/a")._replace(size=1 << 60)
    with pytest.raises(UserError, match=r"--out .*: \d+ MB are to come, \d+ MB are free; give a folder on another disk"):
        download([big], tmp_path)
    assert not server.asked


SCRIPT = """
import sys
from pathlib import Path
from m2asr.bin.command import run
from m2asr.corpora.download import Remote, download
name, size, sha256, origin, out = sys.argv[1:]
run(lambda _: download([Remote(name, int(size), sha256, origin)], Path(out)))
"""


def start(file: Remote, out: Path, limit: int | None = None) -> subprocess.Popen:
    def prepared() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests started by nohup would ignore it
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    line = [sys.executable, "-c", SCRIPT, *map(str, file), str(out)]
    return subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=prepared)


def test_interrupted_leaves_no_file_and_goes_on(server: Server, tmp_path: Path) -> None:
    file = remote(f"{server.address}/slow")
    process = start(file, tmp_path)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and stderr.startswith("interrupted: nothing half-written is left"), stderr
    (part,) = tmp_path.iterdir()
    begun = part.stat().st_size
    assert part.name.startswith(".one.bin.") and 0 < begun < len(CONTENT)
    download([file], tmp_path)
    assert server.asked[-1] == f"/slow bytes={begun}-" and listed(tmp_path) == ["one.bin"]


def test_a_disk_that_gets_full_is_named(server: Server, tmp_path: Path) -> None:
    process = start(remote(f"{server.address}/a"), tmp_path, limit=300_000)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1 and "error: cannot write " in stderr and "one.bin" in stderr and "free some space" in stderr, stderr
    download([remote(f"{server.address}/a")], tmp_path)
    assert listed(tmp_path) == ["one.bin"] and server.asked[-1].startswith("/a bytes=")


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an apt-get that knows one package, one=1."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "content").write_bytes(CONTENT)
    script = f'[ "$3" = one=1 ] && cp {tmp_path}/content one_1_all.deb || {{ echo "E: Unable to locate package $3" >&2; exit 100; }}'
    (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def test_packages_come_through_apt_get(apt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    download([remote("apt:one=1", "one_1_all.deb")], out)
    assert listed(out) == ["one_1_all.deb"]
    with pytest.raises(UserError, match="two=1: apt cannot fetch it: E: Unable to locate package two=1; run apt-get update first"):
        download([remote("apt:two=1", "two.deb")], out)
    with pytest.raises(UserError, match="other.deb: apt:one=1 gives another file than the pinned one"):
        download([remote("apt:one=1", "other.deb", CONTENT * 2)], out)
    assert listed(out) == ["one_1_all.deb"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="two=1: there is no apt-get here; give --mirror"):
        download([remote("apt:two=1", "two.deb")], out)


def test_a_mirror_is_asked_for_the_pinned_packages(server: Server, tmp_path: Path) -> None:
    path = "/debian/pool/main/d/drascula/drascula-spanish_1.0+ds4-2_all.deb"
    assert remotes("drascula", f"{server.address}/debian/")[1].origin == server.address + path
    process = command("download", "debspeech", "--parts", "festvox", "--mirror", server.address, "--out", tmp_path / "out")
    assert process.returncode == 1 and process.stderr.startswith("error: festvox-ru_0.5+dfsg-6_all.deb: ") and "pinned" in process.stderr
    assert listed(tmp_path / "out") == []
    assert server.asked == ["/pool/main/f/festvox-ru/festvox-ru_0.5+dfsg-6_all.deb"] * len(server.asked)


def test_every_file_is_pinned() -> None:
    assert len({package.sha256 for package in PACKAGES}) == len(PACKAGES) == 20
    assert all(len(package.sha256) == 64 and package.size > 20000 and package.version in package.file for package in PACKAGES)
    assert {package.remote(None).origin for package in PACKAGES} >= {"apt:drascula=1.0+ds4-2", "apt:scummvm:amd64=2.7.0+dfsg-1"}


@pytest.mark.parametrize(
    "line, message",
    [
        (["mini"], "cannot download `mini`; valid: aishell1, covost2, debspeech, debtexts, librispeech, librispeech_lm, mls, tedlium2, "),
        (["debspeech", "--parts", "festvoks"], "--parts festvoks: no such part; did you mean `festvox`?"),
        (["debspeech", "--out", str(ROOT / "setup.py")], "setup.py: it is no folder"),
        (["debspeech", "--mirror", "example.org/debian"], "--mirror example.org/debian: it must begin with http://"),
    ],
)
def test_wrong_command_lines_are_named(line: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        main(line)
    assert message in str(error.value)


@pytest.mark.download
@pytest.mark.skipif(not os.environ.get("M2ASR_DOWNLOAD"), reason="needs Debian 12's package archive; M2ASR_DOWNLOAD=1 runs it")
def test_the_real_packages_are_what_is_pinned(tmp_path: Path) -> None:
    texts = [package.remote(None) for package in PACKAGES if package.size < 30_000]
    download([*texts, HSK], tmp_path)
    assert listed(tmp_path) == sorted(file.name for file in [*texts, HSK])


@pytest.mark.parametrize("length", ["x", "-5", "1e9", "0x10", "9" * 40, "1024000,1024000", "+1024000"])
def test_headers_that_are_no_numbers(length: str, server: Server, tmp_path: Path) -> None:
    address = f"{server.address}/says={length}"
    with pytest.raises(UserError, match="the server does not tell its size; give another --mirror"):
        download([remote(address)._replace(size=None)], tmp_path)
    download([remote(address)], tmp_path)  # a pinned file needs no header
    assert (tmp_path / "one.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("record", [b"", b"\n", b"\xff\xfe", b"0" * 63, b"x" * 64, b"0" * 10_000])
def test_a_damaged_record_of_a_checksum(record: bytes, server: Server, tmp_path: Path) -> None:
    (tmp_path / "one.bin.sha256").write_bytes(record)
    with pytest.raises(UserError, match="one.bin.sha256: there is no SHA-256 in it; remove this file"):
        download([remote(f"{server.address}/a")._replace(checksum="")], tmp_path)
