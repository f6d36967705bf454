"""train.jsonl: weighted means, no step twice after a resume, an incomplete last line left out."""

from __future__ import annotations

import json
import math

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo.monitor import Conflicts
from m2asr.report import log as module
from m2asr.report.log import TrainLog, read_log
from m2asr.train.step import Outcome


def outcome(loss=(6.0, 2.0), problem=None, conflicts=None) -> Outcome:
    return Outcome({"asr": loss}, {"asr": {"error": (1.0, 4.0)}}, {"asr": 1.0}, gamma={"cpc": 0.1}, conflicts=conflicts, problem=problem)


def take(log: TrainLog, step: int, result: Outcome, norm: float = 1.0, waited: float = 0.0, phase: str = "train") -> None:
    log.step(
        step,
        0,
        result,
        phase=phase,
        levels=[["asr"], ["cpc"]],
        grad_norm={"encoder": norm},
        lr={"backbone": 0.1},
        audio_seconds=30.0,
        wait_seconds=waited,
        run_seconds=9.0,
        memory_gb=1.0,
    )


def test_means_are_weighted_over_the_steps_since_the_line_before(tmp_path):
    with TrainLog(tmp_path, 6, 0, every=2) as log:
        take(log, 1, outcome((6.0, 2.0)))
        take(log, 2, outcome((2.0, 6.0), conflicts=Conflicts(["asr", "cpc"], {"block1": torch.eye(2)}, merged=1.0, pull=0.5)))
        take(log, 3, outcome((5.0, 1.0)))
        take(log, 4, outcome((1.0, 1.0)))
    first, second = read_log(tmp_path)
    assert (first["kind"], first["step"], first["epoch"], first["gamma"]) == ("train", 2, 1, {"cpc": 0.1})
    assert first["loss"] == {"asr": 1.0} and second["loss"] == {"asr": 3.0}
    assert first["metrics"] == {"asr": {"error": 0.25}}
    assert first["conflict"]["names"] == ["asr", "cpc"] and first["conflict"]["matrix"] == [[1.0, 0.0], [0.0, 1.0]]
    assert first["conflict"]["pull"] == 0.5 and "conflict" not in second
    expected = {
        "kind",
        "step",
        "epoch",
        "phase",
        "levels",
        "loss",
        "metrics",
        "lambda",
        "vertex",
        "inactive",
        "gamma",
        "grad_norm",
        "lr",
        "audio_per_second",
        "data_wait",
        "memory_gb",
        "seconds",
    }
    assert second.keys() == expected


def test_a_skipped_step_does_not_spoil_the_mean_and_the_file_stays_json(tmp_path):
    with TrainLog(tmp_path, 2, 0, every=2) as log:
        take(log, 1, outcome((6.0, 2.0)))
        take(log, 2, outcome((math.nan, 2.0), problem="the loss of asr is nan"), norm=math.inf)
    (line,) = [json.loads(text, parse_constant=pytest.fail) for text in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert line["loss"] == {"asr": 3.0} and line["lambda"] == {"asr": 1.0}
    assert line["grad_norm"] == {"encoder": None}


def test_steps_without_a_line_are_written_before_the_dev_line(tmp_path, capsys):
    with TrainLog(tmp_path, 3, 0, every=2) as log:
        for step in (1, 2, 3):
            take(log, step, outcome())
        metrics = {"asr": {"accuracy": 0.4, "error": 0.5}, "mlm": {"accuracy": 0.25}, "balance": {}}
        log.dev(3, 1, {"asr": 2.0, "mlm": 3.0, "balance": 1.1}, metrics, math.nan, "train")
    assert "epoch 1, step 3, dev: asr error 0.500, mlm accuracy 0.250, balance loss 1.100, score nan" in capsys.readouterr().err
    assert [(line["kind"], line["step"]) for line in read_log(tmp_path)] == [("train", 2), ("train", 3), ("dev", 3)]
    assert read_log(tmp_path)[-1]["select"] is None


def test_time_on_dev_sets_counts_neither_in_speed_nor_in_waiting(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    with TrainLog(tmp_path, 4, 0, every=3) as log:
        for step in (1, 2):
            now[0] += 1.0
            take(log, step, outcome(), waited=0.25 * step)
        now[0] += 50.0
        log.dev(2, 1, {}, {}, 0.0, "train")
        now[0] += 2.0
        take(log, 3, outcome(), waited=1.0)
    first, _, last = read_log(tmp_path)
    assert (first["audio_per_second"], first["data_wait"]) == pytest.approx((30.0, 0.25))
    assert (last["audio_per_second"], last["data_wait"]) == pytest.approx((15.0, 0.25))


def test_a_resumed_run_writes_no_step_twice(tmp_path):
    with TrainLog(tmp_path, 8, 0, every=2) as log:
        for step in range(1, 7):
            take(log, step, outcome())
        log.dev(6, 1, {"asr": 2.0}, {}, 0.5, "train")
    with open(tmp_path / "train.jsonl", "a") as file:
        file.write('{"kind": "train", "st')  # killed while writing
    with TrainLog(tmp_path, 8, 4, every=2) as log:
        for step in range(5, 9):
            take(log, step, outcome((1.0, 1.0)))
    lines = read_log(tmp_path)
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert [line["loss"]["asr"] for line in lines] == [3.0, 3.0, 1.0, 1.0]


def test_more_steps_than_estimated_leave_no_time_below_zero(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("m2asr.report.log.QUIET", 0.0)
    with TrainLog(tmp_path, 2, 0, every=1) as log:
        for step in range(1, 4):
            take(log, step, outcome())
    told = capsys.readouterr().err
    assert "step 1/2: " in told and "step 3/3: " in told and ", 0.0 min left" in told and "-0.0" not in told


def test_lines_are_on_the_disk_at_once(tmp_path):
    with TrainLog(tmp_path, 2, 0, every=1) as log:
        take(log, 1, outcome())
        assert [line["step"] for line in read_log(tmp_path)] == [1]


def test_incomplete_and_broken_lines(tmp_path):
    assert read_log(tmp_path) == []
    path = tmp_path / "train.jsonl"
    one, two = (json.dumps({"kind": "dev", "step": step, "loss": {}}) + "\n" for step in (1, 2))
    path.write_text(f'{one}{two}{{"ste')
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2]
    for broken in ('{"ste', "3", "[]", '{"step": 2}', '{"kind": "train", "step": 2, "loss": {}}', "[" * 100_000):
        path.write_text(f"{one}{broken}\n{two}")
        with pytest.raises(UserError, match=r"train.jsonl:2: not a line of this log; delete this line"):
            read_log(tmp_path)


def test_a_log_file_is_not_flooded(tmp_path, capsys):
    with TrainLog(tmp_path, 500, 0, every=1) as log:
        for step in range(1, 501):
            take(log, step, outcome())
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 5
    assert "asr 3.00" in lines[0] and "lambda 1.00 gamma 0.100" in lines[0] and "s/s" in lines[0] and "left" in lines[0]


def test_tensorboard_has_every_scalar(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainLog(tmp_path, 2, 0, every=1) as log:
        gramians = {"block1": torch.tensor([[16.0, -2.0], [-2.0, 1.0]]), "block2": torch.tensor([[9.0, -1.0], [-1.0, 4.0]])}
        cross = {layer: torch.tensor([[0.5, -0.25], [-0.25, torch.nan]]) for layer in ("block1", "block2", "all")}
        take(log, 1, outcome(conflicts=Conflicts(["asr", "cpc"], gramians, cross, merged=2.0, pull=1.0, deviation=0.25)))
        log.dev(1, 1, {"asr": 2.0}, {"asr": {"error": 0.5}}, 0.5, "train")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = set(events.Tags()["scalars"])
    assert {
        "loss/asr",
        "error/asr",
        "lambda/asr",
        "gamma/cpc",
        "lr/backbone",
        "grad_norm/encoder",
        "audio_per_second",
        "data_wait",
        "dev/loss/asr",
        "lambda_deviation",
    } <= names
    values = {name: events.Scalars(name)[0].value for name in names}
    assert values["cosine/all/asr|cpc"] == pytest.approx(-3 / 125**0.5) and values["cosine/block1/asr|cpc"] == -0.5
    assert values["cosine/block2/asr|cpc"] == pytest.approx(-1 / 6)
    assert values["cross/all/asr|cpc"] == values["cross/block2/asr|cpc"] == -0.25 and values["self/block1/asr"] == 0.5
    assert "self/all/cpc" not in values  # not measured in this step
    assert values["gradient/all/asr"] == pytest.approx(5.0) and values["gradient/block2/asr"] == 3.0
    assert values["gradient/all/merged"] == 2.0 and values["gradient/all/pull"] == 1.0
    assert values["conflict_rate/block1"] == values["conflict_rate/all"] == 1.0


def test_interleaved_phases_do_not_share_a_line(tmp_path):
    with TrainLog(tmp_path, 4, 0, every=4) as log:
        for step, phase in enumerate(["explore", "joint", "joint", "joint"], 1):
            take(log, step, outcome((float(step), 1.0)), phase=phase)
    lines = read_log(tmp_path)
    assert [(line["phase"], line["step"], line["loss"]["asr"]) for line in lines] == [("explore", 1, 1.0), ("joint", 4, 3.0)]


def test_steps_without_a_target_are_counted(tmp_path):
    with TrainLog(tmp_path, 3, 0, every=3) as log:
        for step in range(1, 4):
            result = outcome()
            result.inactive = ["st"] if step > 1 else []
            take(log, step, result)
    assert read_log(tmp_path)[0]["inactive"] == {"st": 2}


def test_the_share_of_steps_at_a_vertex(tmp_path):
    with TrainLog(tmp_path, 8, 0, every=4) as log:
        for step in range(1, 9):
            result = outcome(problem="the loss of asr is nan" if step == 4 else None)
            result.vertex = {"asr+st": step in (1, 4)} if step <= 4 else {}
            take(log, step, result)
    first, second = read_log(tmp_path)
    assert first["vertex"] == {"asr+st": pytest.approx(1 / 3)} and second["vertex"] == {}
