"""The summary of conflicts names the pairs, the layers and the change."""

from __future__ import annotations

import json

import pytest

from m2asr.errors import UserError
from m2asr.train.conflicts import summarize


def write(exp, cosines):
    with open(exp / "train.jsonl", "w") as file:
        for step, cosine in enumerate(cosines, 1):
            names = ["asr", "st", "cpc"] if step > 1 else ["asr", "st"]  # gamma is 0 in the first step
            matrix = [[1.0, cosine, 0.1], [cosine, 1.0, 0.2], [0.1, 0.2, 1.0]]
            conflict = {
                "names": names,
                "matrix": [row[: len(names)] for row in matrix[: len(names)]],
                "norm": [2.0, 1.0, 0.5][: len(names)],
            }
            conflict |= {"rate": {"block1": float(cosine < 0), "all": 0.0}, "merged": 0.8, "pull": 0.2 * (step > 1)}
            line = {"kind": "train", "step": 20 * step, "gamma": {"cpc": 0.1}, "conflict": conflict}
            line |= {"loss": {"asr": 1.0, "st": 2.0, "cpc": 3.0}}
            line |= {"lambda": {"asr": 0.3, "st": 0.7}, "metrics": {"cpc": {"accuracy": 0.2, "chance": 0.1}}}
            file.write(json.dumps(line) + "\n")


def test_it_tells_who_fights_where_and_when(tmp_path):
    write(tmp_path, [0.4, -0.2, -0.4, -0.6, 0.5, 0.3])
    text = summarize(tmp_path)
    assert "6 steps measured, 20 to 120" in text
    assert "| asr - st | +0.100, 50% | -0.500, 100% | +0.400, 0% |" in text
    assert text.index("| asr - cpc |") < text.index("| st - cpc |") < text.index("| asr - st |")  # the worst of the last third first
    assert "| block1 | 50% | 100% | 0% |" in text
    assert "| st | 1, lambda 0.7, loss 2 |" in text and "| cpc | 0.5, loss 3 |" in text
    assert "| pull over distance | 0.125 | 0.25 | 0.25 |" in text
    assert "| accuracy of cpc | 0.200, chance 0.100 |" in text


def test_it_tells_how_far_feature_level_weights_are_from_exact_ones(tmp_path):
    write(tmp_path, [0.4, -0.2])
    assert "exact one" not in summarize(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    for line, deviation in zip(lines, (0.3, 0.05), strict=True):
        line["conflict"]["deviation"] = deviation
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "| largest deviation of a lambda from the exact one | 0.3 | 0.05 |" in summarize(tmp_path)


def test_short_runs_and_runs_without_conflicts(tmp_path):
    write(tmp_path, [0.4])
    assert "| asr - st | +0.400, 0% |" in summarize(tmp_path)
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(UserError, match="no training step yet"):
        summarize(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"kind": "train", "step": 1}\n')
    with pytest.raises(UserError, match="measure none"):
        summarize(tmp_path)
