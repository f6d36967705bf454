"""What experts take: counts of a real system, and the volume that processes really move."""

from __future__ import annotations

import re

import pytest

from m2asr.bin import expert_plan
from m2asr.config import load_config
from m2asr.errors import UserError
from m2asr.report.expert_plan import plan_experts
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT

MINI = ROOT / "egs/mini/conf/train_3m.yaml"


def numbers(text: str, row: str) -> list[float]:
    """The two numbers of a row, in millions or MB."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {row}")]
    found = [(float(value.replace(",", "")), unit) for value, unit in re.findall(r"([\d.,]+) (M|MB|GB) ", line)]
    return [value * (1000 if unit == "GB" else 1) for value, unit in found]


def plan(processes: int, *changes: str) -> str:
    return plan_experts(load_config(TrainConfig, MINI, list(changes)), processes, vocab=70)


def test_by_hand():
    """8 experts of 160 -> 320 -> 160 in 4 layers; 60 s are 1500 states, a half of them in each of two processes."""
    text = plan(2, "train.precision=float32")
    spread = 4 * 8 * (2 * 160 * 320 + 320 + 160)
    whole, share = numbers(text, "parameters")
    assert whole - share == pytest.approx(spread / 2 / 1e6, abs=0.11)
    memory = numbers(text, "memory")
    assert memory[0] - memory[1] == pytest.approx(spread / 2 * (4 + 4 + 4 + 2) / 1e6, abs=0.2)  # Muon has one moment
    gradients = numbers(text, "traffic of gradients")
    assert gradients[0] - gradients[1] == pytest.approx(2 * 4 * spread / 2 / 1e6, abs=0.2)
    # four times: there and back, forward and backward; half of the states are at home
    assert numbers(text, "traffic of states") == [0.0, pytest.approx(4 * 2 * 750 * 4 * 160 / 2 / 1e6, abs=0.06)]


def test_a_single_process_moves_nothing():
    text = plan(1)
    assert numbers(text, "parameters")[0] == numbers(text, "parameters")[1]
    assert numbers(text, "traffic of gradients") == [0.0, 0.0] and numbers(text, "traffic of states") == [0.0, 0.0]


def test_more_experts_make_spreading_worth_more():
    few, many = (numbers(plan(4, f"model.encoder.experts.count={count}"), "memory") for count in (8, 64))
    assert many[0] / many[1] > few[0] / few[1] > 1


def test_mistakes_are_one_line(capsys):
    with pytest.raises(UserError, match="8 experts cannot be shared by 3 processes equally"):
        plan(3)
    with pytest.raises(UserError, match="the encoder has no experts"):
        plan(2, "model.encoder.experts=null", "model.sounds=null", "objectives.sounds_ctc=null", "objectives.balance=null")
    with pytest.raises(UserError, match="--processes: give a number from 1"):
        expert_plan.main(["--config", str(MINI), "--processes", "0"])
    assert expert_plan.main(["--config", str(MINI), "--processes", "2"]) == 0
    assert "| per process | replicated | spread |" in capsys.readouterr().out
