"""Codebooks: the centroids of k-means over averaged states of a run, which turn speech into codes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2asr.decode.pooled_states import PooledStates
from m2asr.errors import UserError
from m2asr.files import open_atomic, open_input
from m2asr.unpacking import check_stored

FIRST_STATES = 10_000  # in the first mini-batch
STATES = 1024  # in every further one


@dataclass(frozen=True)
class Codebook:
    """Centroids (K, D) float32 of the states of the run `run` at `tap`, of which every `pool` neighbours are averaged.

    `exp` is the folder of the run when the codebook was learned, for messages.
    """

    centroids: np.ndarray
    run: str
    tap: str
    pool: int
    exp: str

    @property
    def digest(self) -> str:
        """Identifies the codebook: its centroids, run, tap and pooling."""
        described = repr((self.run, self.tap, self.pool, self.centroids.shape)).encode()
        return hashlib.blake2b(described + self.centroids.tobytes(), digest_size=6).hexdigest()

    @property
    def words(self) -> list[str]:
        """How the codes are written: c000, c001 ..., with at least three digits, and with as many as the last one needs."""
        digits = max(3, len(str(len(self.centroids) - 1)))
        return [f"c{code:0{digits}d}" for code in range(len(self.centroids))]

    def codes(self, states: Tensor) -> np.ndarray:
        """The nearest centroids of states (N, D), (N,) int64."""
        centroids = torch.from_numpy(self.centroids).to(states.device)  # (K, D)
        distances = centroids.square().sum(1) / 2 - states.float() @ centroids.T  # (N, K), up to a constant of every state
        return distances.argmin(1).cpu().numpy()

    def check(self, states: PooledStates, path: Path) -> None:
        """Raise UserError if this codebook, read from `path`, is not one of these states."""
        if self.run != states.run:
            problem = f"the run {self.exp} had other weights when this codebook was learned than {states.exp} has"
            raise UserError(f"{path}: {problem}; give the --exp that it belongs to, or learn a new one without --codebook")

    def save(self, path: Path) -> None:
        """Write the codebook to a file, as a whole."""
        with open_atomic(path, "wb") as file:
            np.savez(file, centroids=self.centroids, run=self.run, tap=self.tap, pool=self.pool, exp=self.exp)

    @classmethod
    def load(cls, path: Path) -> Codebook:
        """Read a codebook. Raises UserError if the file is missing or holds something else."""
        try:
            with open_input(path) as file:
                check_stored(file)
                file.seek(0)
                arrays = np.load(file, allow_pickle=False)
                centroids, pool = arrays["centroids"], int(arrays["pool"])
                run, tap, exp = (str(arrays[name]) for name in ("run", "tap", "exp"))
            if centroids.ndim != 2 or centroids.dtype != np.float32 or pool < 1:
                raise ValueError("no table of centroids")
        except UserError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise UserError(f"{path}: not a readable codebook ({reason}); learn one without --codebook") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, zipfile.BadZipFile) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise UserError(f"{path}: not a readable codebook ({reason}); learn one without --codebook") from None
        return cls(centroids, run, tap, pool, exp)


def learn_centroids(states: Iterable[np.ndarray], clusters: int, seed: int) -> np.ndarray:
    """Centroids (K, D) float32 of states (N_b, D), by mini-batch k-means (Sculley 2010) of scikit-learn.

    It begins with the centroids of the first mini-batch, a large one, by k-means. The sequence of states decides the result, not how it is
    cut into arrays; memory holds one array and one mini-batch. Raises UserError if there are fewer states than clusters.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    kmeans, seed = None, seed % 2**32
    for batch in rechunked(states, max(FIRST_STATES, 10 * clusters), max(STATES, 2 * clusters)):
        if kmeans is None:
            if len(batch) < clusters:
                raise UserError(f"--clusters {clusters}: only {len(batch)} states to learn from; give fewer clusters, or more speech")
            with threadpool_limits(1):  # several threads add up in any order
                start = KMeans(clusters, n_init=1, random_state=seed).fit(batch).cluster_centers_
            kmeans = MiniBatchKMeans(clusters, init=start, n_init=1, random_state=seed)
        kmeans.partial_fit(batch)
    if kmeans is None:
        raise UserError(f"--clusters {clusters}: there is no state to learn from; give more speech")
    return kmeans.cluster_centers_.astype(np.float32)


def rechunked(arrays: Iterable[np.ndarray], first: int, size: int) -> Iterator[np.ndarray]:
    """The rows of arrays (N_b, D) in order: `first` of them, then `size` at a time, and at last those that are left."""
    rows: list[np.ndarray] = []
    count, wanted = 0, first
    for array in arrays:
        rows.append(array)
        count += len(array)
        while count >= wanted:
            joined = np.concatenate(rows)
            yield joined[:wanted]
            rows, count, wanted = [joined[wanted:]], count - wanted, size
    if count:
        yield np.concatenate(rows)
