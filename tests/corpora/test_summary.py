from __future__ import annotations

import pytest

from m2asr.corpora.summary import Published, Summary
from m2asr.data.directory import Utterance
from m2asr.errors import UserError


def test_counts_sets_and_names_what_was_dropped() -> None:
    summary = Summary()
    summary.add("train", [Utterance("a-1", "a", "en", "1.wav", 1800, "one two"), Utterance("b-1", "b", "en", "2.wav", 3600)])
    for n in range(7):
        summary.drop("too long", f"clip{n}")
    lines = str(summary).splitlines()
    assert lines[1].split() == ["train", "2", "1.50", "2", "2"]
    assert lines[2] == "dropped 7: too long: clip0, clip1, clip2, clip3, clip4 ..."


def test_words_of_chinese_are_characters() -> None:
    summary = Summary()
    summary.add("train", [Utterance("a-1", "a", "zh", "1.wav", 36, "你好abc 再见")])
    assert str(summary).splitlines()[1].split() == ["train", "1", "0.01", "1", "5"]


def test_compares_with_what_is_published() -> None:
    published = {"train": Published(2, 1.5, 2), "dev": Published(2, 1.5, 2), "test": Published(hours=1.52)}
    summary = Summary(published, origin="all.tar.gz")
    for name in ("train", "dev"):
        summary.add(name, [Utterance("a-1", "a", "en", "1.wav", 1800), Utterance("b-1", name[0], "en", "2.wav", 3600)])
    summary.add("dev", [Utterance("d-2", "d", "en", "1.wav", 1800)])
    summary.add("test", [Utterance("e-1", "e", "en", "1.wav", 5400)])
    lines = str(summary).splitlines()
    assert lines[1].endswith("2 utterances, 1.5 h, 2 speakers") and lines[3].endswith("1.52 h")
    assert lines[4:] == [
        "dev differs: 3 utterances, 2 are published; 2.00 hours, 1.5 are published",
        "the data is incomplete, or another version, or utterances were dropped; for the complete corpus fetch all.tar.gz",
    ]


def test_empty_sets_are_reported_and_refused_if_required() -> None:
    summary = Summary({"dev": Published(hours=2)}, origin="all.tar.gz")
    summary.expect(["train", "dev", "test"], required=False)
    with pytest.raises(UserError, match="no utterance in the requested parts.*; dropped 1: silent; not there: x; fetch all.tar.gz again"):
        summary.drop("silent", "a-0")
        summary.note("not there: x")
        summary.check()
    summary.add("train", [Utterance("a-1", "a", "en", "1.wav", 1800, "one")])
    summary.check()
    lines = str(summary).splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [["train", "1"], ["dev", "0"], ["test", "0"]]
    assert lines[-3:-1] == ["dev differs: 0.00 hours, 2 are published", "test differs: no utterance in it"]
    summary.expect(["unlabelled_en", "test"], required=True)
    with pytest.raises(UserError, match="^test: no utterance in it; fetch all.tar.gz again, or leave it out of --parts$"):
        summary.check()


def test_bad_utterances_are_dropped_up_to_a_limit() -> None:
    summary = Summary(max_bad=1)
    summary.bad("x.tsv:1: cut")
    with pytest.raises(UserError, match=r"x.tsv:2: cut \(2 such; --max_bad 1 allows fewer\)"):
        summary.bad("x.tsv:2: cut")
    with pytest.raises(UserError, match="x.tsv:1: cut; or drop such with --max_bad"):
        Summary().bad("x.tsv:1: cut")
    assert "dropped 1: unusable: x.tsv:1: cut" in str(summary)
