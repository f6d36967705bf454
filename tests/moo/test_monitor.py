from __future__ import annotations

import torch

from m2asr.moo.monitor import Conflicts, conflict_rate, cosines, cross_cosines, merged_norm

ROWS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 3.0], [0.0, 0.0]])


def test_cosines_are_those_of_the_gradients() -> None:
    matrix = cosines(ROWS @ ROWS.T)
    expected = torch.nn.functional.cosine_similarity(ROWS[:3, None].double(), ROWS[None, :3].double(), dim=-1)
    torch.testing.assert_close(matrix[:3, :3], expected)
    assert matrix[3].tolist() == [0, 0, 0, 0]  # a gradient that is 0 has no direction


def test_conflict_rate_counts_pairs() -> None:
    assert conflict_rate(ROWS @ ROWS.T) == 1 / 6
    assert conflict_rate(ROWS[:2] @ ROWS[:2].T) == 0
    assert conflict_rate(ROWS[:1] @ ROWS[:1].T) == 0


def test_merged_norm_is_the_length_of_the_weighted_sum() -> None:
    weights = torch.tensor([0.5, 0.2, 0.3, 0.0], dtype=torch.float64)
    assert abs(merged_norm(ROWS @ ROWS.T, weights) - float((weights @ ROWS.double()).norm())) < 1e-6
    assert merged_norm(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), torch.tensor([0.5, 0.5])) == 0


def test_cosines_of_independent_batches_use_no_pair_that_shares_one() -> None:
    """Two objectives on a stream of two batches, a third on a stream of one."""
    rows = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batches = [{("x", 0)}, {("x", 1)}, {("x", 0)}, {("x", 1)}, {("y", 0)}]
    whole, left = rows, rows[:, :4]
    products = torch.stack([part @ part.T for part in (left, rows[:, 4:])])
    found = cross_cosines(products, [0, 0, 1, 1, 2], batches)
    for part, cross in ((left, found[0]), (whole, found[-1])):
        lengths = torch.stack([(part[0].norm() * part[1].norm()).sqrt(), (part[2].norm() * part[3].norm()).sqrt(), part[4].norm()])
        expected = torch.full((3, 3), torch.nan, dtype=torch.float64)
        expected[0, 0], expected[1, 1] = part[0] @ part[1], part[2] @ part[3]
        expected[0, 1] = expected[1, 0] = (part[0] @ part[3] + part[1] @ part[2]) / 2
        expected[0, 2] = expected[2, 0] = (part[0] + part[1]) @ part[4] / 2
        expected[1, 2] = expected[2, 1] = (part[2] + part[3]) @ part[4] / 2
        torch.testing.assert_close(cross, expected / lengths.outer(lengths), equal_nan=True)
    zero = cross_cosines(torch.zeros(1, 2, 2, dtype=torch.float64), [0, 0], [{("x", 0)}, {("x", 1)}])
    assert zero.isnan().all()  # a gradient that is 0 has no direction


def test_the_line_of_a_log_tells_layers_and_the_whole() -> None:
    left, right = ROWS[:3, :1], ROWS[:3, 1:]
    line = Conflicts(["asr", "st", "cpc"], {"left": left @ left.T, "right": right @ right.T}).line()
    assert line["norms"] == {"left": [2.0, 0.0, 3.0], "right": [0.0, 1.0, 3.0]}
    assert torch.allclose(torch.tensor(line["norm"]), ROWS[:3].norm(dim=1))
    assert line["layers"]["left"][0] == [1.0, 0.0, -1.0] and line["rate"] == {"left": 1 / 3, "right": 0.0, "all": 1 / 3}
