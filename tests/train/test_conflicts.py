"""The summary of conflicts names the pairs, the layers and the change."""

from __future__ import annotations

import json

import pytest

from m2asr.errors import UserError
from m2asr.train.conflicts import summarize


def write(exp, cosines, changes=None):
    """A log with the cosine of asr and st at steps 20, 40, ...; `changes` of steps are merged into their lines."""
    with open(exp / "train.jsonl", "w") as file:
        for step, cosine in enumerate(cosines, 1):
            names = ["asr", "st", "cpc"] if step > 1 else ["asr", "st"]  # gamma is 0 in the first step
            matrix = [[1.0, cosine, 0.1], [cosine, 1.0, 0.2], [0.1, 0.2, 1.0]]
            # in the upper block cpc stands against st, whatever the whole backbone says
            upper = [[1.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 1.0]]
            square = {name: [row[: len(names)] for row in rows[: len(names)]] for name, rows in (("low", matrix), ("up", upper))}
            conflict = {
                "names": names,
                "matrix": square["low"],
                "layers": {"block1": square["low"], "block2": square["up"]},
                "norm": [2.0, 1.0, 0.5][: len(names)],
            }
            rate = {"block1": float(cosine < 0), "block2": 0.25, "all": 0.0}
            conflict |= {"rate": rate, "merged": 0.8, "pull": 0.2 * (step > 1)}
            line = {"kind": "train", "step": 20 * step, "gamma": {"cpc": 0.1}, "conflict": conflict}
            line |= {"loss": {"asr": 1.0, "st": 2.0, "cpc": 3.0}}
            line |= {"lambda": {"asr": 0.3, "st": 0.7}, "metrics": {"cpc": {"accuracy": 0.2, "chance": 0.1}}}
            change = dict((changes or {}).get(20 * step, {}))
            conflict |= change.pop("conflict", {})
            file.write(json.dumps(line | change) + "\n")


def test_it_tells_who_fights_where_and_when(tmp_path):
    write(tmp_path, [0.4, -0.2, -0.4, -0.6, 0.5, 0.3])
    text = summarize(tmp_path)
    assert "6 steps measured, 20 to 120" in text
    assert "| asr - st | +0.100, 50% | -0.500, 100% | +0.400, 0% |" in text
    assert text.index("| asr - cpc |") < text.index("| st - cpc |") < text.index("| asr - st |")  # the worst of the last third first
    assert "| block1 | 50%, asr - st +0.100 | 100%, asr - st -0.500 | 0%, asr - cpc +0.100 |" in text
    assert "| block2 | 25%, st - cpc -0.200 | 25%, st - cpc -0.200 | 25%, st - cpc -0.200 |" in text
    assert "| all | 0%, asr - st +0.100 |" in text
    assert "| st | 1, lambda 0.7, loss 2 |" in text and "| cpc | 0.5, loss 3 |" in text
    assert "| pull over distance | 0.125 | 0.25 | 0.25 |" in text
    assert "| accuracy of cpc | 0.200, chance 0.100 |" in text


def test_it_tells_how_far_feature_level_weights_are_from_exact_ones(tmp_path):
    write(tmp_path, [0.4, -0.2])
    assert "exact one" not in summarize(tmp_path)
    known = {20: 0.3, 40: 0.1, 80: 0.05, 120: 0.2}  # those between use known weights, as with `every`
    write(tmp_path, [0.4] * 6, {step: {"conflict": {"deviation": value}} for step, value in known.items()})
    assert "| largest deviation of a lambda from the exact one | 0.3 | 0.05 | 0.2 |" in summarize(tmp_path)


def test_what_the_last_phase_has_not_is_told_of_those_before(tmp_path):
    alone = {"gamma": {}, "metrics": {}}
    write(tmp_path, [0.4] * 6, {80: alone, 100: alone, 120: alone})
    text = summarize(tmp_path)
    assert "| gamma of cpc | 0.1 | 0.1 |  |" in text
    assert "| accuracy of cpc | 0.200, chance 0.100 | 0.200, chance 0.100 |  |" in text


def test_a_line_without_a_number_does_not_spoil_its_period(tmp_path):
    write(tmp_path, [0.4] * 6, {40: {"gamma": {}}, 60: {"conflict": {"merged": 0.0}}})
    text = summarize(tmp_path)
    assert "nan" not in text
    assert "| gamma of cpc | 0.1 | 0.1 | 0.1 |" in text
    assert "the length of sum lambda g | 0.8 | 0.4 | 0.8 |" in text
    assert "| pull over distance | 0.125 | 0.25 | 0.25 |" in text


def test_layers_with_a_single_gradient_have_no_pair(tmp_path):
    alone = {"names": ["asr"], "matrix": [[1.0]], "norm": [2.0], "layers": {"block1": [[1.0]], "block2": [[1.0]]}}
    write(tmp_path, [-0.4] * 6, {step: {"conflict": alone | {"rate": {"block1": 0.0, "all": 0.0}}} for step in (20, 100, 120)})
    assert "| block1 | 100%, asr - st -0.400 | 100%, asr - st -0.400 |  |" in summarize(tmp_path)


def test_it_tells_how_often_one_objective_had_all_the_weight(tmp_path):
    write(tmp_path, [0.4] * 6, {20: {"vertex": {"asr+st": 1.0}}, 40: {"vertex": {"asr+st": 0.5}}, 80: {"vertex": {"asr+st": 0.0}}})
    assert "| steps in which one of asr+st had more than 0.99 of the weight | 0.75 | 0 |  |" in summarize(tmp_path)


def test_short_runs_and_runs_without_conflicts(tmp_path):
    write(tmp_path, [0.4])
    assert "| asr - st | +0.400, 0% |" in summarize(tmp_path)
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(UserError, match="no training step yet"):
        summarize(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"kind": "train", "step": 1}\n')
    with pytest.raises(UserError, match="measure none"):
        summarize(tmp_path)
