"""Utterances and the stretches of recordings that they are."""

from __future__ import annotations

import pytest

from m2asr.data.directory import read_table
from m2asr.data.recordings import Item, read_items
from m2asr.errors import UserError


def test_every_utterance_has_its_recording(mini_data):
    folder = mini_data / "test_it"
    items, wavs, seconds = read_items(folder), read_table(folder / "wav.scp"), read_table(folder / "utt2dur")
    assert {item.utt: item.wav for item in items} == wavs
    assert all(item.seconds == float(seconds[item.utt]) and item.start == 0 and item.end is None for item in items)
    assert [item.utt for item in items] == sorted(wavs, key=str.encode)


def test_segments_are_stretches(tmp_path):
    (tmp_path / "wav.scp").write_text("call a.wav\n")
    (tmp_path / "segments").write_text("call-2 call 2.5 4\ncall-1 call 0 -1\n")
    segments = tmp_path / "segments"
    assert read_items(tmp_path) == [Item("call-1", f"{segments}:2", "a.wav"), Item("call-2", f"{segments}:1", "a.wav", 2.5, 4.0, 1.5)]


@pytest.mark.parametrize("segment", ["call 2", "call 4 2.5", "other 1 2", "call one two"])
def test_a_bad_segment_is_named(tmp_path, segment):
    (tmp_path / "wav.scp").write_text("call a.wav\n")
    (tmp_path / "segments").write_text(f"call-1 call 0 1\ncall-2 {segment}\n")
    with pytest.raises(UserError, match="segments:2: call-2: write `utterance recording start end`"):
        read_items(tmp_path)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "x", ""])
def test_a_duration_that_is_no_number_is_named(tmp_path, seconds):
    (tmp_path / "wav.scp").write_text("a a.wav\n")
    (tmp_path / "utt2dur").write_text(f"a {seconds}\n")
    with pytest.raises(UserError, match=f"utt2dur: a: `{seconds}` is not a number of seconds"):
        read_items(tmp_path)
