"""Files for people: trn lines, aligned errors, totals per speaker."""

from __future__ import annotations

import pytest

from m2asr.errors import UserError
from m2asr.score.error_rate import word_errors
from m2asr.score.result_txt import read_trn, write_result, write_trn


def test_trn(tmp_path):
    write_trn(tmp_path / "hyp.trn", ["a", "b"], ["two words", ""])
    assert (tmp_path / "hyp.trn").read_text() == "two words (a)\n (b)\n"


def test_trn_is_read_as_it_was_written(tmp_path):
    """Any id without spaces and any text of one line, with what Python takes for the end of a line too."""
    utts, texts = ["a", "(b)", "c\u00a0d", "e"], ["two words", "", "next\u2028line\x0b (f)", "()"]
    write_trn(tmp_path / "ref.trn", utts, texts)
    assert read_trn(tmp_path / "ref.trn") == (utts, texts)
    with pytest.raises(UserError, match="stage 6"):
        read_trn(tmp_path / "hyp.trn")
    (tmp_path / "hyp.trn").write_text("good (a)\nbad\n")
    with pytest.raises(UserError, match="hyp.trn:2: not a line"):
        read_trn(tmp_path / "hyp.trn")
    (tmp_path / "hyp.trn").write_bytes(b"good (a)\n\x8b (b)\n")
    with pytest.raises(UserError, match="hyp.trn: cannot read this file: it is not UTF-8 text"):
        read_trn(tmp_path / "hyp.trn")


def test_errors_stand_under_each_other(tmp_path):
    write_result(tmp_path / "result.txt", ["u1"], ["anna"], word_errors(["the line is busy today"], ["the lion busy today now"]))
    lines = (tmp_path / "result.txt").read_text().splitlines()
    assert "Scores: (#C #S #D #I) 3 1 1 1" in lines
    index = lines.index("id: (u1)")
    assert lines[index + 2 : index + 5] == [
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
