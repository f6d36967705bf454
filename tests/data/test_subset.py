from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.data.directory import read_tables
from m2asr.data.subset import subset
from m2asr.data.validate import validate
from m2asr.errors import UserError


def test_a_subset_is_a_clean_directory_with_the_same_lines(mini_data: Path, tmp_path: Path) -> None:
    tables = read_tables(mini_data / "test_ru")
    utts = list(tables["utt2spk"])
    for keep, chosen in ((5, utts[:5]), (utts[1::20], utts[1::20]), (10_000, utts)):
        assert subset(mini_data / "test_ru", tmp_path / "some", keep) == len(chosen)
        subset_tables = read_tables(tmp_path / "some")
        assert list(subset_tables["utt2spk"]) == chosen
        assert all(tables[name][utt] == value for name, table in subset_tables.items() for utt, value in table.items())
        assert set(subset_tables["text.en"]) == set(tables["text.en"]).intersection(chosen)
        assert validate(tmp_path / "some", audio=False).clean


def test_unknown_ids_and_an_empty_choice_are_told(mini_data: Path, tmp_path: Path) -> None:
    for keep, message in ((["ru_ivrvoice-activated", "zz-1", "zz-2"], r"zz-1: no such utterance \(2 unknown"), ([], "would be empty")):
        with pytest.raises(UserError, match=message):
            subset(mini_data / "test_ru", tmp_path / "some", keep)
    assert not (tmp_path / "some").exists()
