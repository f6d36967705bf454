"""Tables: the mean over languages, one cell per language and task, valid JSON."""

from __future__ import annotations

import json

import pytest

from m2asr.score.report import mean, mean_rows, write_results


def asr(name: str, lang: str, metric: str, value: float, search: str = "greedy") -> dict:
    row = {"set": name, "task": "asr", "lang": lang, "source": lang, "metric": metric, "value": value}
    row |= {"search": search, "ci95": [value - 0.01, value + 0.01]}
    row |= {"sub": 1, "del": 2, "ins": 3, "ref_tokens": 60, "utterances": 9, "language": "oracle"}
    return {**row, "baseline": {"name": "nearest training sentence (oracle)", "value": 0.5}}


ROWS = [asr("test_clean", "en", "wer", 0.10), asr("test_other", "en", "wer", 0.30), asr("test_it", "it", "wer", 0.40)]
ROWS += [asr("test_clean", "en", "cer", 0.05), asr("test_other", "en", "cer", 0.15), asr("test_it", "it", "cer", 0.20)]
ST = {"set": "test_it", "task": "st", "lang": "en", "source": "it", "metric": "chrf", "value": 31.4, "ci95": [30.0, 33.0]}
ST |= {"search": "greedy", "utterances": 9, "ref_tokens": 50, "unrepresentable": 0.125, "signature": "nrefs:1|case:mixed"}
RESULTS = {"recipe": "mini", "tag": "run", "decode": ["greedy", "lm"], "min_words": 3, "params": 2_200_000, "seed": 1}


def test_a_language_counts_once_however_many_sets_it_has():
    assert mean(ROWS, "wer") == pytest.approx((0.20 + 0.40) / 2)
    assert mean(ROWS[:2], "wer") == pytest.approx(0.20)
    assert mean([ST], "wer") is None
    assert [row["languages"] for row in mean_rows(ROWS)] == [["en", "it"]] * 2
    assert mean_rows([ST]) == mean_rows(ROWS[:2]) == []


def test_every_search_has_its_own_mean():
    figures = ("it", "wer", 0.20), ("en", "wer", 0.06), ("it", "cer", 0.10), ("en", "cer", 0.02)
    rows = [*ROWS, *(asr(f"test_{lang}", lang, metric, value, "lm") for lang, metric, value in figures)]
    means = {(row["search"], row["metric"]): row["value"] for row in mean_rows(rows)}
    expected = {("greedy", "wer"): 0.30, ("greedy", "cer"): 0.15, ("lm", "wer"): 0.13, ("lm", "cer"): 0.06}
    assert means == pytest.approx(expected)


def test_sets_in_several_languages_are_no_language_of_the_mean():
    rows = [*ROWS, asr("test_all", "en+it", "wer", 0.9), asr("test_all", "en+it", "cer", 0.9)]
    assert mean(rows, "wer") == mean(ROWS, "wer") and mean_rows(rows) == mean_rows(ROWS)


def test_groups_stand_below_their_set(tmp_path):
    group = {key: ROWS[0][key] for key in ("sub", "del", "ins", "ref_tokens", "utterances", "baseline")}
    rows = [{**ROWS[0], "groups": {"anna": {**group, "value": 0.07, "ci95": [0.05, 0.09]}}}, ROWS[1]]
    lines = write_results(tmp_path, {**RESULTS, "by": "spk", "rows": rows}, []).splitlines()
    index = next(index for index, line in enumerate(lines) if line.startswith("| greedy | test_clean | asr | wer | 10.0 "))
    assert lines[index + 1].startswith("| greedy | test_clean, anna | asr | wer | 7.0 | 5.0 - 9.0 | 1 / 2 / 3 | 60 | 9 | 50.0 nearest")
    assert lines[index + 2].startswith("| greedy | test_other | asr | wer ")
    assert mean(rows, "wer") == mean(ROWS[:2], "wer")


def test_tables(tmp_path):
    lm = [asr("test_it", "it", "wer", 0.25, "lm")]
    rows = [*ROWS, ST, *mean_rows(ROWS), *lm]
    text = write_results(tmp_path, {**RESULTS, "rows": rows}, ["./run.sh --tag run", "./run.sh --stage score"])
    assert text == (tmp_path / "RESULTS.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text()) == {**RESULTS, "rows": rows}
    lines = text.splitlines()
    assert "| search | language | set | CER | WER | chrf into en |" in lines
    assert "| greedy | en | test_clean | 5.0 | 10.0 |  |" in lines
    assert "| greedy | it | test_it | 20.0 | 40.0 | 31.4 |" in lines
    assert "| greedy | en it | mean | 15.0 | 30.0 |  |" in lines
    assert "| lm | it | test_it |  | 25.0 |  |" in lines
    assert "| greedy | test_it | asr | wer | 40.0 | 39.0 - 41.0 | 1 / 2 / 3 | 60 | 9 | 50.0 nearest training sentence (oracle) |" in lines
    assert "| lm | test_it | asr | wer | 25.0 | 24.0 - 26.0 | 1 / 2 / 3 | 60 | 9 | 50.0 nearest training sentence (oracle) |" in lines
    assert "2.20 M parameters; seed 1; search greedy, lm; utterances" in text
    assert "12.5% of the references" in text and "not recognized" in text
    assert lines[-4:] == ["```bash", "./run.sh --tag run", "./run.sh --stage score", "```"]


def test_the_mean_runs_over_the_languages_that_have_the_metric(tmp_path):
    rows = [*ROWS, asr("test_zh", "zh-CN", "cer", 0.50), asr("test_mix", "zh", "mer", 0.7)]
    rows += mean_rows(rows)
    assert {(row["metric"], *row["languages"]): row["value"] for row in rows if row["set"] == "mean"} == pytest.approx(
        {("wer", "en", "it"): 0.30, ("cer", "en", "it", "zh-CN"): (0.10 + 0.20 + 0.50) / 3}
    )
    text = write_results(tmp_path, {**RESULTS, "rows": rows}, [])
    assert "| greedy | en it | mean |  |  | 30.0 |" in text and "| greedy | en it zh-CN | mean | 26.7 |  |  |" in text
    assert "| greedy | mean over en it | asr | wer | 30.0 |" in text
