from __future__ import annotations

import os
from pathlib import Path

import pytest

from m2asr.data.directory import Utterance, read_table, read_tables, replace_data_dir, select, speakers, write_data_dir, write_table
from m2asr.errors import UserError


def test_tables_are_sorted_as_the_c_locale_sorts(tmp_path: Path) -> None:
    write_table(tmp_path / "text", {"b-1": "x", "B-1": "y", "a_1": "z", "a-1": "ещё", "é": "", "a1": "w"})
    assert (tmp_path / "text").read_text(encoding="utf-8") == "B-1 y\na-1 ещё\na1 w\na_1 z\nb-1 x\né\n"
    assert read_table(tmp_path / "text") == {"B-1": "y", "a-1": "ещё", "a1": "w", "a_1": "z", "b-1": "x", "é": ""}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a x\nb y\na z\n", r"text:3: a: this id stands in the file twice"),
        (b"a x\n\nb y\n", r"text:2: the line has no id"),
        (b"a x\nb \xff\n", r"text:2: not UTF-8"),
    ],
)
def test_bad_lines_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / "text")


def test_a_directory_holds_what_its_utterances_say(tmp_path: Path) -> None:
    said = [
        Utterance("b-2", "b", "it", "x/2.wav", 1.5, "ciao", {"en": "Hello."}),
        Utterance("a-1", "a", "en", "x/1.wav", 0.25, "hello", {}),
        Utterance("b-1", "b", "it", "x/3.wav", 2.0, "sì", {"en": "Yes.", "ru": "Да."}),
    ]
    write_data_dir(tmp_path / "set", said)
    assert read_tables(tmp_path / "set") == {
        "wav.scp": {"a-1": "x/1.wav", "b-1": "x/3.wav", "b-2": "x/2.wav"},
        "utt2spk": {"a-1": "a", "b-1": "b", "b-2": "b"},
        "utt2lang": {"a-1": "en", "b-1": "it", "b-2": "it"},
        "utt2dur": {"a-1": "0.250", "b-1": "2.000", "b-2": "1.500"},
        "text": {"a-1": "hello", "b-1": "sì", "b-2": "ciao"},
        "text.en": {"b-1": "Yes.", "b-2": "Hello."},
        "text.ru": {"b-1": "Да."},
    }
    assert (tmp_path / "set" / "spk2utt").read_text() == "a a-1\nb b-1 b-2\n"
    write_data_dir(tmp_path / "set", said[1:2])  # a preparation that is run again leaves nothing of the first
    assert not (tmp_path / "set" / "text.ru").exists() and os.listdir(tmp_path) == ["set"]


def test_unlabelled_speech_has_no_text(tmp_path: Path) -> None:
    write_data_dir(tmp_path / "set", [Utterance("a-1", "a", "en", "1.wav", 1.0)])
    assert sorted(os.listdir(tmp_path / "set")) == ["spk2utt", "utt2dur", "utt2lang", "utt2spk", "wav.scp"]


def test_a_folder_with_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="is no data directory"):
            replace_data_dir(place, {"utt2spk": {"a-1": "a"}})
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_selecting_keeps_the_recordings_that_segments_name() -> None:
    tables = {
        "utt2spk": {"a-1": "a", "a-2": "a", "b-1": "b"},
        "segments": {"a-1": "call1 0 1", "a-2": "call1 1 2", "b-1": "call2 0 1"},
        "wav.scp": {"call1": "1.wav", "call2": "2.wav"},
        "text.en": {"b-1": "Hello."},
    }
    chosen = select(tables, {"a-2"})
    assert chosen == {"utt2spk": {"a-2": "a"}, "segments": {"a-2": "call1 1 2"}, "wav.scp": {"call1": "1.wav"}}


def test_speakers_inverts_utt2spk() -> None:
    assert speakers({"b-2": "b", "a-1": "a", "b-1": "b"}) == {"a": "a-1", "b": "b-1 b-2"}
