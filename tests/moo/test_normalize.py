from __future__ import annotations

import pytest
import torch

from m2asr.moo.build import build_weighting
from m2asr.moo.normalize import gradient_lengths
from m2asr.train_config import Weighting as Section
from tests.moo.quadratics import NAMES

ROWS = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.3
LOSSES = torch.tensor([2.0, 1.0, 5.0], dtype=torch.float64)
SCALES = torch.tensor([1e3, 1.0, 0.1], dtype=torch.float64)


def weights(rows: torch.Tensor, how: str, losses: torch.Tensor = LOSSES, **options) -> torch.Tensor:
    section = Section.model_validate({"type": "mgda", "normalize": how})
    return build_weighting(section, NAMES).weights(rows @ rows.T, losses=losses, **options)


def direction(rows: torch.Tensor, how: str, losses: torch.Tensor = LOSSES) -> torch.Tensor:
    return torch.nn.functional.normalize(weights(rows, how, losses) @ rows, dim=0)


@pytest.mark.parametrize("how", ["l2", "loss", "loss+"])
def test_is_mgda_on_divided_gradients(how: str) -> None:
    lengths = gradient_lengths(how, ROWS.square().sum(1), LOSSES)
    divided = ROWS / lengths[:, None]
    found = weights(ROWS, how)
    assert abs(found.sum() - 1) < 1e-12
    expected = torch.nn.functional.normalize(weights(divided, "none") @ divided, dim=0)
    torch.testing.assert_close(direction(ROWS, how), expected, atol=1e-8, rtol=0)


def test_l2_ignores_the_length_of_gradients_and_loss_the_unit_of_losses() -> None:
    torch.testing.assert_close(direction(SCALES[:, None] * ROWS, "l2"), direction(ROWS, "l2"), atol=1e-7, rtol=0)
    torch.testing.assert_close(direction(SCALES[:, None] * ROWS, "loss", SCALES * LOSSES), direction(ROWS, "loss"), atol=1e-7, rtol=0)
    assert (direction(SCALES[:, None] * ROWS, "none") - direction(ROWS, "none")).abs().max() > 0.1


def test_lengths_are_the_three_of_the_released_code() -> None:
    norms = torch.tensor([4.0, 9.0, 0.0], dtype=torch.float64)
    assert gradient_lengths("l2", norms, None).tolist() == [2, 3, 1]
    assert gradient_lengths("loss", norms, LOSSES).tolist() == [2, 1, 5]
    assert gradient_lengths("loss+", norms, LOSSES).tolist() == [4, 3, 1]


def test_absent_objectives_do_not_matter() -> None:
    rows, losses = ROWS.clone(), LOSSES.clone()
    rows[1], losses[1] = float("nan"), float("nan")
    found = weights(rows, "loss+", losses, active=[0, 2])
    assert found[1] == 0 and abs(found.sum() - 1) < 1e-12
    assert torch.equal(found, weights(ROWS, "loss+", active=[0, 2]))


def test_equal_gradients_of_equal_losses_get_equal_weights() -> None:
    for how in ("l2", "loss", "loss+"):
        assert weights(torch.ones(3, 4, dtype=torch.float64), how, torch.full((3,), 7.0)).tolist() == pytest.approx([1 / 3] * 3)
