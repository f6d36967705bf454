"""Codebooks: learned alike from any cut of the same states, and kept in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from m2asr.decode.codebook import Codebook, learn_centroids, rechunked
from m2asr.errors import UserError


@pytest.fixture(scope="module")
def states() -> np.ndarray:
    """States (N, 8) around six points, (n mod 6) first."""
    rng = np.random.default_rng(1)
    points = 10 * rng.standard_normal((6, 8))
    return (points[np.arange(13_000) % 6] + rng.standard_normal((13_000, 8))).astype(np.float32)


@pytest.fixture
def codebook() -> Codebook:
    return Codebook(np.random.default_rng(1).standard_normal((12, 8)).astype(np.float32), "abc", "block2", 2, "exp/pretrain")


def test_states_as_a_stream_give_the_centroids_of_all_at_once(states: np.ndarray) -> None:
    whole = learn_centroids([states], 6, seed=1)
    assert whole.shape == (6, 8) and whole.dtype == np.float32
    for size in (1, 777, 11_000):
        cut = (states[start : start + size] for start in range(0, len(states), size))
        assert np.array_equal(learn_centroids(cut, 6, seed=1), whole)


def test_clusters_of_states_are_recovered(states: np.ndarray) -> None:
    codes = Codebook(learn_centroids([states], 6, seed=1), "", "", 1, "").codes(torch.from_numpy(states))
    for point in range(6):
        assert len(set(codes[point::6].tolist())) == 1
    assert len(set(codes[:6].tolist())) == 6


def test_the_seed_decides(states: np.ndarray) -> None:
    first, again, other = (learn_centroids([states], 20, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_rows_are_cut_anew() -> None:
    rows = np.arange(23)[:, None]
    cut = list(rechunked([rows[:1], rows[1:18], rows[18:18], rows[18:]], 7, 5))
    assert [len(part) for part in cut] == [7, 5, 5, 5, 1] and np.array_equal(np.concatenate(cut), rows)


@pytest.mark.parametrize(("count", "told"), [(0, "there is no state to learn from"), (7, "only 7 states to learn from; give fewer")])
def test_too_few_states(states: np.ndarray, count: int, told: str) -> None:
    with pytest.raises(UserError, match=f"--clusters 8: {told}"):
        learn_centroids([states[:count]], 8, seed=1)


def test_codes_are_the_nearest_centroids_and_words_have_enough_digits(codebook: Codebook) -> None:
    states = torch.randn(50, 8)
    assert codebook.codes(states).tolist() == torch.cdist(states, torch.from_numpy(codebook.centroids)).argmin(1).tolist()
    assert codebook.words[:2] == ["c000", "c001"] and len(codebook.words) == 12
    assert replace(codebook, centroids=np.zeros((1001, 1), np.float32)).words[-1] == "c1000"


def test_a_file_gives_the_same_codebook(codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "codes/codebook.npz")
    loaded = Codebook.load(tmp_path / "codes/codebook.npz")
    assert np.array_equal(loaded.centroids, codebook.centroids) and loaded.digest == codebook.digest
    assert (loaded.run, loaded.tap, loaded.pool, loaded.exp) == ("abc", "block2", 2, "exp/pretrain")
    changes = ({"run": "abd"}, {"tap": "block1"}, {"pool": 1}, {"centroids": codebook.centroids + 1})
    assert len({codebook.digest, *(replace(codebook, **change).digest for change in changes)}) == 5


def test_other_files_are_no_codebooks(codebook: Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path / "good.npz")
    content = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.npz").write_text("c001 c002\n")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "arrays.npz", centroids=codebook.centroids)
    np.savez(tmp_path / "objects.npz", centroids=np.array([{}], dtype=object), run="", tap="", pool=1, exp="")
    np.savez(tmp_path / "flat.npz", centroids=np.zeros(3, np.float32), run="", tap="", pool=1, exp="")
    np.save(tmp_path / "array.npy", codebook.centroids)
    for name in ("none.npz", "cut.npz", "text.npz", "empty.npz", "arrays.npz", "objects.npz", "flat.npz", "array.npy"):
        with pytest.raises(UserError, match=f"{name}: not a readable codebook .*; learn one without --codebook") as error:
            Codebook.load(tmp_path / name)
        assert "\n" not in str(error.value)
