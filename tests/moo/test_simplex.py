from __future__ import annotations

import itertools

import pytest
import torch

from m2asr.moo.simplex import project_onto_simplex


def brute_force(point: torch.Tensor) -> torch.Tensor:
    """The nearest among the projections onto all faces."""
    best, distance = None, float("inf")
    for size in range(1, len(point) + 1):
        for face in itertools.combinations(range(len(point)), size):
            candidate = torch.zeros_like(point)
            index = torch.tensor(face)
            candidate[index] = point[index] - (point[index].sum() - 1) / size
            if (candidate >= 0).all() and (candidate - point).norm() < distance:
                best, distance = candidate, float((candidate - point).norm())
    return best


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_is_the_nearest_point_of_the_simplex(size: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(size)
    for _ in range(20):
        point = scale * torch.randn(size, dtype=torch.float64, generator=generator)
        projected = project_onto_simplex(point)
        assert (projected >= 0).all() and abs(projected.sum() - 1) < 1e-12
        torch.testing.assert_close(projected, brute_force(point), atol=1e-12, rtol=0)


def test_points_of_the_simplex_stay_and_shifts_do_not_matter() -> None:
    point = torch.tensor([0.2, 0.0, 0.5, 0.3], dtype=torch.float64)
    torch.testing.assert_close(project_onto_simplex(point), point)
    torch.testing.assert_close(project_onto_simplex(point + 7), point)


def test_huge_entries_give_a_vertex() -> None:
    projected = project_onto_simplex(torch.tensor([1e20, -1e20, 3.0], dtype=torch.float64))
    assert projected.tolist() == [1, 0, 0]
