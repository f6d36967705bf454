"""The summary of conflicts names the pairs, the layers and the change."""

from __future__ import annotations

import json

import numpy as np
import pytest

from m2asr.errors import UserError
from m2asr.report.conflicts import summarize


def write(exp, cosines, changes=None):
    """Write a log with the cosines of asr and st at steps 20, 40, ...; `changes` by step are merged into their lines."""
    with open(exp / "train.jsonl", "w") as file:
        for step, cosine in enumerate(cosines, 1):
            names = ["asr", "st", "cpc"] if step > 1 else ["asr", "st"]  # gamma is 0 in the first step
            matrix = [[1.0, cosine, 0.1], [cosine, 1.0, 0.2], [0.1, 0.2, 1.0]]
            # in the upper block cpc is in conflict with st; in the backbone as a whole it is not
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


def test_it_names_the_pairs_in_conflict_by_layer_and_period(tmp_path):
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


def write_noise(exp, steps=24):
    """Write a log in which asr and st are in conflict in block1 alone, st and tr are aligned, and cpc is nothing but noise.

    The halves of cpc are measured rarely.
    """
    generator = np.random.default_rng(1)
    names = ["asr", "st", "tr", "cpc"]
    with open(exp / "train.jsonl", "w") as file:
        for step in range(1, steps + 1):
            cross = {}
            for layer, cosine in (("block1", -0.1), ("block2", 0.0), ("all", -0.05)):
                upper = np.diag([0.5, 0.4, 0.3, 0.0])
                upper[0, 1], upper[1, 2] = cosine, 0.06
                upper = upper + 0.02 * np.triu(generator.standard_normal((4, 4)))
                rows = (upper + np.triu(upper, 1).T).tolist()
                rows[3][3] = rows[3][3] if step % 6 == 0 else None
                cross[layer] = rows
            shared = np.full((4, 4), 0.2).tolist()  # on the same batch, common noise makes all cosines positive
            conflict = {"names": names, "matrix": shared, "layers": {"block1": shared, "block2": shared}, "cross": cross, "norm": [1.0] * 4}
            conflict |= {"rate": {"block1": 0.0, "block2": 0.0, "all": 0.0}, "merged": 0.8, "pull": 0.1}
            line = {"kind": "train", "step": step, "gamma": {}, "conflict": conflict, "metrics": {}, "loss": {"asr": 1.0}, "lambda": {}}
            file.write(json.dumps(line) + "\n")


def test_only_what_is_beyond_the_noise_counts(tmp_path):
    write_noise(tmp_path)
    text = summarize(tmp_path)
    assert "**Of 6 pairs 1 is in conflict, 1 is aligned, 4 cannot be told from 0.**" in text
    assert text.index("**Of 6") < text.index("24 steps measured")
    above = text[: text.index("## Objectives")]
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in above.splitlines() if line.startswith("| ")}
    state, cosine, true, one_batch, *periods = rows["asr - st"]
    assert state == "in conflict" and cosine.startswith("-0.05") and one_batch == "+0.200"
    value, margin = map(float, true.split(" ± "))
    assert abs(value + 0.05 / (0.5 * 0.4) ** 0.5) < margin < 0.03 and all("conflict" in cell for cell in periods)
    assert rows["st - tr"][0] == "aligned" and rows["asr - tr"][0] == "not told from 0"
    assert rows["asr - cpc"][2] == "noise" and rows["cpc"][0] == "noise"
    assert float(rows["asr"][0]) == pytest.approx(1.0, abs=0.1) and float(rows["asr"][1].split()[0]) == pytest.approx(0.5, abs=0.02)
    assert rows["block1"][1] == "17% in conflict, 17% aligned" and rows["block1"][0].startswith("asr - st -0.10")
    assert rows["block2"][1] == "0% in conflict, 17% aligned"
    assert "older" not in text and "nan" not in text
    assert list(rows).index("asr - st") < list(rows).index("asr - tr") < list(rows).index("st - tr")


def test_a_log_without_noise_says_so(tmp_path):
    write(tmp_path, [0.4] * 6)
    text = summarize(tmp_path)
    assert "The noise was not measured in this run" in text and "cannot be told" not in text


def test_a_run_may_go_on_from_a_log_without_noise(tmp_path):
    write(tmp_path, [0.4] * 6)
    old = (tmp_path / "train.jsonl").read_text()
    write_noise(tmp_path)
    (tmp_path / "train.jsonl").write_text(old + (tmp_path / "train.jsonl").read_text())
    text = summarize(tmp_path)
    assert "30 steps measured" in text and "| asr - st | in conflict |" in text and "nan" not in text


def test_it_tells_how_far_feature_level_weights_are_from_exact_ones(tmp_path):
    write(tmp_path, [0.4, -0.2])
    assert "exact one" not in summarize(tmp_path)
    deviations = {20: 0.3, 40: 0.1, 80: 0.05, 120: 0.2}  # the steps between use weights computed before, as with `every`
    write(tmp_path, [0.4] * 6, {step: {"conflict": {"deviation": value}} for step, value in deviations.items()})
    assert "| largest deviation of a lambda from the exact one | 0.3 | 0.05 | 0.2 |" in summarize(tmp_path)


def test_numbers_that_the_last_phase_lacks_are_shown_for_the_phases_before(tmp_path):
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
    (tmp_path / "train.jsonl").write_text('{"kind": "train", "step": 1, "loss": {}, "lambda": {}, "gamma": {}}\n')
    with pytest.raises(UserError, match="measure none"):
        summarize(tmp_path)
