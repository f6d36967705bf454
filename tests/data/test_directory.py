from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.data.directory import read_table, replace_data_dir, select, speakers, write_table
from m2asr.errors import UserError


def test_tables_are_sorted_as_the_c_locale_sorts(tmp_path: Path) -> None:
    write_table(tmp_path / "text", {"b-1": "x", "B-1": "y", "a_1": "z", "a-1": "ещё", "é": "", "a1": "w"})
    assert (tmp_path / "text").read_text(encoding="utf-8") == "B-1 y\na-1 ещё\na1 w\na_1 z\nb-1 x\né\n"
    assert read_table(tmp_path / "text") == {"B-1": "y", "a-1": "ещё", "a1": "w", "a_1": "z", "b-1": "x", "é": ""}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a x\nb y\na z\n", r"text:3: a: this id has two lines in the file"),
        (b"a x\n\nb y\n", r"text:2: the line has no id"),
        (b"a x\nb \xff\n", r"text:2: not UTF-8"),
    ],
)
def test_bad_lines_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / "text")


def test_a_folder_with_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="did not make this folder|is a file"):
            replace_data_dir(path, {"utt2spk": {"a-1": "a"}})
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
