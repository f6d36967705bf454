"""Where one curve reaches another, and which error rate stands on it."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from m2asr.data.directory import read_table
from m2asr.errors import UserError
from tools.espnet_curves import Point, dev_error, first_to_reach, mean_point, read_curve, verdict, write_curve

THEIRS = [Point(300.0, 0.5, "7epoch"), Point(600.0, 0.2, "15epoch")]


def test_the_cheapest_point_with_the_error_counts_whatever_the_order() -> None:
    curve = [Point(90.0, 0.1, "5 h"), Point(40.0, 0.3, "2 h"), Point(60.0, 0.2, "3 h"), Point(70.0, 0.25, "4 h")]
    assert first_to_reach(curve, 0.2).model == first_to_reach(curve[::-1], 0.2).model == "3 h"
    assert first_to_reach(curve, 0.05) is None and first_to_reach([], 1.0) is None


@pytest.mark.parametrize("seconds, end", [(75.0, "ratio 0.125 (bar 0.125: ok)"), (76.0, "ratio 0.127 (bar 0.125: MISSED)")])
def test_the_verdict_compares_with_the_whole_time_of_the_other(seconds: float, end: str) -> None:
    line = verdict(THEIRS, [Point(50.0, 0.201, "2 h"), Point(seconds, 0.2, "3 h")], "202511")
    assert line == f"ESPnet 202511: dev CER 0.200 after 600 s (15epoch); m2asr: 0.200 after {seconds:.0f} s (3 h); {end}"


def test_the_lowest_error_of_the_other_counts_though_its_last_is_higher() -> None:
    late = [Point(500.0, 0.1, "12epoch"), Point(600.0, 0.2, "15epoch")]
    assert "not reached, 0.150 after 60 s (3 h): MISSED" in verdict(late, [Point(60.0, 0.15, "3 h")], "202511")
    assert verdict(late, [], "202511") == "ESPnet 202511: dev CER 0.100 after 600 s (12epoch)"


def test_a_curve_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_curve(tmp_path / "curve.csv", THEIRS[::-1])
    assert read_curve(tmp_path / "curve.csv") == THEIRS
    (tmp_path / "curve.csv").write_text("seconds,cer,model\n1.0,many,x\n", encoding="utf-8")
    with pytest.raises(UserError, match="not a curve"):
        read_curve(tmp_path / "curve.csv")


def test_seeds_are_averaged() -> None:
    assert mean_point([Point(10.0, 0.25, "2 h"), Point(20.0, 0.75, "2 h")]) == Point(15.0, 0.5, "2 h")


def test_the_error_is_the_mean_over_sets_of_corpus_rates(mini_data: Path) -> None:
    sets = ["dev_en", "dev_ru"]
    texts = {name: read_table(mini_data / name / "text") for name in sets}
    right = {utt: text.upper() for name in sets for utt, text in texts[name].items()}
    where = Path("hypotheses")
    assert dev_error(right, sets, mini_data, 1, where) == 0.0  # normalized before they are compared
    spoilt = {utt: "ъ" + text[1:] if utt in texts["dev_ru"] else text for utt, text in right.items()}
    characters = sum(map(len, texts["dev_ru"].values()))
    expected = statistics.fmean([0.0, len(texts["dev_ru"]) / characters])
    assert dev_error(spoilt, sets, mini_data, 1, where) == pytest.approx(expected)
    scored = {utt: text for utt, text in texts["dev_ru"].items() if len(text.split()) >= 3}
    expected = statistics.fmean([0.0, len(scored) / sum(map(len, scored.values()))])
    assert dev_error(spoilt, sets, mini_data, 3, where) == pytest.approx(expected)
    del spoilt[next(iter(scored))]
    with pytest.raises(UserError, match="no hypothesis"):
        dev_error(spoilt, sets, mini_data, 1, where)
