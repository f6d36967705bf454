"""Files for people: trn lines, aligned errors, totals per speaker."""

from __future__ import annotations

from m2asr.score.error_rate import word_errors
from m2asr.score.result_txt import write_result, write_trn


def test_trn(tmp_path):
    write_trn(tmp_path / "hyp.trn", ["a", "b"], ["two words", ""])
    assert (tmp_path / "hyp.trn").read_text() == "two words (a)\n (b)\n"


def test_errors_stand_under_each_other(tmp_path):
    write_result(tmp_path / "result.txt", ["u1"], ["anna"], word_errors(["the line is busy today"], ["the lion busy today now"]))
    lines = (tmp_path / "result.txt").read_text().splitlines()
    assert "Scores: (#C #S #D #I) 3 1 1 1" in lines
    place = lines.index("id: (u1)")
    assert lines[place + 2 : place + 5] == [
        "REF:  the LINE IS busy today ***",
        "HYP:  the LION ** busy today NOW",
        "Eval:     S    D             I",
    ]


def test_totals_of_speakers(tmp_path):
    errors = word_errors(["a b", "c d", "e f"], ["a b", "c x", ""])
    write_result(tmp_path / "result.txt", ["u1", "u2", "u3"], ["anna", "bob", "bob"], errors)
    table = {line.split()[1]: line.split("|")[3].split() for line in (tmp_path / "result.txt").read_text().splitlines()[1:4]}
    assert table["anna"] == ["100.0", "0.0", "0.0", "0.0", "0.0", "0.0"]
    assert table["bob"] == ["25.0", "25.0", "50.0", "0.0", "75.0", "100.0"]
    assert table["Sum/Avg"] == ["50.0", "16.7", "33.3", "0.0", "50.0", "66.7"]


def test_empty_texts(tmp_path):
    write_result(tmp_path / "result.txt", ["u1", "u2"], ["s", "s"], word_errors(["", "a"], ["b", ""]))
    text = (tmp_path / "result.txt").read_text()
    assert "REF:  *\nHYP:  B\nEval: I" in text and "REF:  A\nHYP:  *\nEval: D" in text
