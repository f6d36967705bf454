from __future__ import annotations

from m2asr.corpora.summary import Summary
from m2asr.data.directory import Utterance


def test_counts_sets_and_names_what_was_dropped() -> None:
    summary = Summary()
    summary.add("train", [Utterance("a-1", "a", "en", "1.wav", 1800, "one two"), Utterance("b-1", "b", "en", "2.wav", 3600)])
    for n in range(7):
        summary.drop("too long", f"clip{n}")
    lines = str(summary).splitlines()
    assert lines[1].split() == ["train", "2", "1.50", "2", "2"]
    assert lines[2] == "dropped 7: too long: clip0, clip1, clip2, clip3, clip4 ..."
