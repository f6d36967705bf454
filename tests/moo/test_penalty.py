from __future__ import annotations

import pytest

from m2asr.config import check_config
from m2asr.errors import UserError
from m2asr.moo.penalty import PenaltySchedule, level_factors
from m2asr.train_config import Penalty


@pytest.mark.parametrize("total", [2, 7, 1950])
def test_linear_schedule_goes_from_start_to_the_published_end(total: int) -> None:
    schedule = PenaltySchedule(Penalty())
    values = [schedule.gamma(step, epoch=0, total_steps=total) for step in range(total)]
    assert values[0] == 0 and values[-1] == 0.2
    assert all(later >= earlier for earlier, later in zip(values, values[1:], strict=False))
    assert schedule.gamma(10 * total, epoch=0, total_steps=total) == 0.2


def test_linear_schedule_over_a_share_of_the_run_then_stays() -> None:
    schedule = PenaltySchedule(Penalty(start=1.0, end=0.5, over=0.5))
    assert schedule.gamma(0, 0, 101) == 1.0
    assert 0.5 < schedule.gamma(25, 0, 101) < 1.0
    assert schedule.gamma(50, 0, 101) == schedule.gamma(100, 0, 101) == 0.5


def test_growth_per_epoch_is_the_papers_schedule() -> None:
    schedule = PenaltySchedule(Penalty(growth=1 / 500))
    assert schedule.gamma(0, 0, 10_000) == 0
    assert schedule.gamma(123, epoch=1, total_steps=10_000) == pytest.approx(0.002)
    assert schedule.gamma(9_999, epoch=100, total_steps=10_000) == pytest.approx(0.2)
    assert schedule.gamma(9_999, epoch=501, total_steps=10_000) == 1.0


def test_growth_per_step_is_capped() -> None:
    schedule = PenaltySchedule(Penalty(start=0.1, growth=0.01, every="step", max=0.15))
    assert schedule.gamma(3, 0, 100) == pytest.approx(0.13)
    assert schedule.gamma(90, 0, 100) == 0.15


def test_growth_cannot_start_above_its_cap() -> None:
    with pytest.raises(UserError, match="penalty.start: 2 is above `max`, 1, up to which it grows"):
        check_config(Penalty, {"start": 2.0, "growth": 0.1}, "config")
    assert PenaltySchedule(Penalty(start=2.0, growth=0.1, max=2.0)).gamma(0, 3, 100) == 2.0
    assert PenaltySchedule(Penalty(start=2.0, end=3.0)).gamma(0, 0, 100) == 2.0  # without growth there is no cap


def test_constant_gamma_is_the_weighted_sum() -> None:
    schedule = PenaltySchedule(Penalty(start=0.3, end=0.3))
    assert {schedule.gamma(step, 0, 50) for step in range(50)} == {0.3}


def test_factors_of_levels_nest() -> None:
    assert level_factors([], []) == [1.0]
    assert level_factors([0.2], [False]) == [1.0, 0.2]
    assert level_factors([0.5, 0.4], [False, False]) == pytest.approx([1.0, 0.5, 0.2])
    assert level_factors([0.0, 0.4], [False, False]) == [1.0, 0.0, 0.0]


def test_rescaled_levels_have_factors_of_at_most_one() -> None:
    """min(1 / gamma, 1) times (upper + gamma lower): above gamma 1 the lower level has 1 and the upper one less."""
    assert level_factors([0.5], [True]) == [1.0, 0.5]
    assert level_factors([4.0], [True]) == pytest.approx([0.25, 1.0])
    assert level_factors([0.0], [True]) == [1.0, 0.0]
    assert level_factors([0.5, 4.0], [False, True]) == pytest.approx([1.0, 0.5 * 0.25, 0.5])
