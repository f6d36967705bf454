"""Archives whose sizes lie are refused before they fill memory."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from m2asr.corpora.archives import archive, fetch_archives
from m2asr.corpora.debs import file_text, package_files
from m2asr.corpora.debspeech.mandarin import SENTENCES, read_sentences
from m2asr.decode.codebook import Codebook
from m2asr.errors import UserError
from m2asr.report.run_archive import load_runs
from m2asr.train import checkpoint
from tests.corpora.packages import ar
from tests.corpora.packing import pin

ZEROS = 120 << 20  # bytes of content
LARGEST = 60 << 20  # bytes of memory that a reader may take


@contextmanager
def bounded(largest: int = LARGEST) -> Iterator[None]:
    """The block takes little memory and time."""
    tracemalloc.start()
    start = time.process_time()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < largest and time.process_time() - start < 20
    finally:
        tracemalloc.stop()


@cache
def bomb(pack: Callable[[io.BytesIO], io.BufferedIOBase], name: str, kind: bytes = tarfile.REGTYPE, size: int = ZEROS) -> bytes:
    """A packed tar archive with a member of zeros, and with the member's own size if `size` is another one."""
    out = io.BytesIO()
    with pack(out) as packed:
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, size
        packed.write(member.tobuf(tarfile.GNU_FORMAT))
        for _ in range(ZEROS >> 20):
            packed.write(bytes(1 << 20))
    return out.getvalue()


def gz(out: io.BytesIO) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=out, mode="wb")


def xz(out: io.BytesIO) -> lzma.LZMAFile:
    return lzma.LZMAFile(out, "wb", preset=0)


@pytest.mark.parametrize(("kind", "size"), [(tarfile.REGTYPE, ZEROS), (tarfile.GNUTYPE_LONGNAME, ZEROS), (tarfile.REGTYPE, 1 << 60)])
def test_packages(kind: bytes, size: int, tmp_path: Path) -> None:
    content = bomb(xz, "./usr/a", kind, size)
    (tmp_path / "a.deb").write_bytes(ar({"debian-binary": b"2.0\n", "data.tar.xz": content}))
    assert len(content) < 100_000
    with bounded(), pytest.raises(UserError, match="a.deb: not a complete Debian package .it unpacks to more than [12]. MB"):
        list(package_files(tmp_path / "a.deb", lambda name: True))


@pytest.mark.parametrize("size", [b"-60", b"-68", b"1e3", b"", b"9" * 10])
def test_sizes_of_the_members_of_packages(size: bytes, tmp_path: Path) -> None:
    member = ar({"debian-binary": b"2.0\n", "data.tar.xz": b""})
    (tmp_path / "a.deb").write_bytes(member[:56] + size.ljust(10) + member[66:])
    with bounded(), pytest.raises(UserError, match="a.deb: not a complete Debian package"):
        list(package_files(tmp_path / "a.deb", lambda name: True))


def test_a_packed_text_in_a_package() -> None:
    with bounded(3 * LARGEST), pytest.raises(UserError, match="a.deb: cannot read a.gz in it: it unpacks to more than 64 MB"):
        file_text(Path("a.deb"), "a.gz", bomb(gz, "run/results.json", tarfile.REGTYPE))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_archives_of_corpora(kind: bytes, tmp_path: Path) -> None:
    content = bomb(gz, "run/results.json", kind)
    (tmp_path / "a.tar.gz").write_bytes(content)
    size, checksum = pin(content)
    with bounded(), pytest.raises(UserError, match="a.tar.gz: not a complete archive .it unpacks to more than [12]. MB"):
        fetch_archives([archive("a.tar.gz", size, checksum, tmp_path.as_uri(), "corpus/part", 2.0)], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".download.lock", "a.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_archives_of_runs(kind: bytes, tmp_path: Path) -> None:
    (tmp_path / "runs.tar.gz").write_bytes(bomb(gz, "run/results.json", kind))
    with bounded(), pytest.raises(UserError, match="runs.tar.gz: cannot be read: it unpacks to more than .* MB"):
        load_runs(tmp_path / "runs.tar.gz", tmp_path / "exp")


def zipped(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as file:
        file.write(content)
        for _ in range(ZEROS >> 20):
            file.write(bytes(1 << 20))
    return path


def test_codebooks_and_checkpoints(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (ZEROS // 400, 100)})
    path = zipped(tmp_path / "codebook.npz", "centroids.npy", head.getvalue())
    with bounded(), pytest.raises(UserError, match="codebook.npz: not a readable codebook .its .* bytes promise more than they hold"):
        Codebook.load(path)
    path = zipped(tmp_path / "model.pt", "model/data.pkl", b"")
    with bounded(), pytest.raises(UserError, match="model.pt: damaged or half-written"):
        checkpoint.load(path)


def test_sentences_of_a_wheel(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.whl", SENTENCES, b"[")
    with bounded(), pytest.raises(UserError, match="a.whl: cannot read its sentences .* is larger than 64 MB"):
        read_sentences(path)
