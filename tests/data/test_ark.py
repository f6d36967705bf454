from __future__ import annotations

import os
import pickle
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from m2asr.data.ark import read_matrix
from m2asr.errors import UserError

MATRIX = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)


def places(scp: Path) -> list[tuple[str, int]]:
    locations = [line.split()[1].rpartition(":") for line in scp.read_text().splitlines()]
    return [(path, int(offset)) for path, _, offset in locations]


@pytest.mark.parametrize("method, tolerance", [(None, 0.0), (1, 0.05), (2, 0.05), (3, 1e-3), (5, 0.05)])
def test_reads_what_kaldi_stores_compressed_or_not(method: int | None, tolerance: float, tmp_path: Path) -> None:
    mats = {"a": MATRIX, "b": 2 * MATRIX[:9], "c": MATRIX[:1]}
    kaldiio.save_ark(str(tmp_path / "x.ark"), mats, scp=str(tmp_path / "x.scp"), compression_method=method)
    for (path, offset), expected in reversed(list(zip(places(tmp_path / "x.scp"), mats.values(), strict=True))):
        assert np.allclose(read_matrix(path, offset), expected, atol=tolerance, rtol=0)


def test_double_precision_and_a_matrix_without_a_name(tmp_path: Path) -> None:
    kaldiio.save_mat(str(tmp_path / "cmvn.ark"), MATRIX.astype(np.float64))
    assert read_matrix(tmp_path / "cmvn.ark").dtype == np.float64


def test_forked_processes_do_not_disturb_each_other(tmp_path: Path) -> None:
    kaldiio.save_ark(
        str(tmp_path / "x.ark"), {str(i): np.full((50, 50), i, dtype=np.float32) for i in range(20)}, scp=str(tmp_path / "x.scp")
    )
    where = places(tmp_path / "x.scp")
    read_matrix(*where[0])  # the file is open before the fork
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            wrong = any((read_matrix(*location) != i).any() for _ in range(20) for i, location in enumerate(where))
            os._exit(int(wrong))
        children.append(child)
    assert all(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 for child in children)


def test_commands_and_pickles_never_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "hacked"),))

    (tmp_path / "x.ark").write_bytes(b"PKL" + pickle.dumps(Hostile()))
    for path in (f"mkdir {tmp_path}/hacked |", tmp_path / "x.ark"):
        with pytest.raises(UserError):
            read_matrix(path)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("content", [b"", b"\0BFM ", b"\0BFV \4\3\0\0\0" + 12 * b"\0", b"\0BXX ", b"[ 1 2 3 ]", bytes(range(100, 200))])
def test_what_is_no_matrix_is_named_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.ark").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.ark:0: cannot read a matrix") as error:
        read_matrix(tmp_path / "x.ark")
    assert "\n" not in str(error.value)


def test_every_truncation_of_a_file_is_an_error(tmp_path: Path) -> None:
    for method in (None, 2):
        kaldiio.save_ark(str(tmp_path / "x.ark"), {"a": MATRIX}, compression_method=method)
        content = (tmp_path / "x.ark").read_bytes()
        for size in range(2, len(content), 7):
            (tmp_path / f"{method}-{size}.ark").write_bytes(content[:size])
            with pytest.raises(UserError):
                read_matrix(tmp_path / f"{method}-{size}.ark", 2)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.ark: cannot read this matrix: No such file"):
        read_matrix(tmp_path / "gone.ark", 7)
