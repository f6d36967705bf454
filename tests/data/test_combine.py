from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.data.combine import combine
from m2asr.data.directory import read_tables, write_table
from m2asr.data.validate import validate
from m2asr.errors import UserError


def test_languages_are_joined_to_a_clean_directory(mini_data: Path, tmp_path: Path) -> None:
    folders = [mini_data / f"dev_{lang}" for lang in ("ru", "en", "it")]
    count = combine(folders, tmp_path / "all")
    tables = [read_tables(folder) for folder in folders]
    joined = read_tables(tmp_path / "all")
    assert count == len(joined["utt2spk"]) == sum(len(table["utt2spk"]) for table in tables)
    assert joined["text"] == tables[0]["text"] | tables[1]["text"] | tables[2]["text"]
    assert joined["text.en"] == tables[0]["text.en"] | tables[2]["text.en"]  # English has no text.en
    assert validate(tmp_path / "all", audio=False, keep_long_text=True).clean


def test_codes_may_be_missing_in_a_set(small_data: Path, mini_data: Path, tmp_path: Path) -> None:
    utt = next(iter(read_tables(small_data)["text"]))
    for name, value in (("text.codes", "c001 c002"), ("utt2codes", "20 0.08 abc")):
        write_table(small_data / name, {utt: value})
    combine([small_data, mini_data / "dev_ru"], tmp_path / "all")
    joined = read_tables(tmp_path / "all")
    assert joined["text.codes"] == {utt: "c001 c002"} and joined["utt2codes"] == {utt: "20 0.08 abc"}


def test_what_does_not_fit_together_is_told(small_data: Path, mini_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another directory has this id too"):
        combine([mini_data / "dev_it", small_data], tmp_path / "all")
    (small_data / "text").unlink()
    with pytest.raises(UserError, match=f"{small_data}: has no text, .*dev_en has one"):
        combine([small_data, mini_data / "dev_en"], tmp_path / "all")
    with pytest.raises(UserError, match="no such data directory"):
        combine([small_data, tmp_path / "nowhere"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_recording_may_be_cut_in_two_directories(tmp_path: Path) -> None:
    for name, wav in (("a", "x.wav"), ("b", "x.wav"), ("c", "y.wav")):
        write_table(tmp_path / name / "wav.scp", {"call": wav})
        write_table(tmp_path / name / "utt2spk", {f"{name}-1": name})
        write_table(tmp_path / name / "segments", {f"{name}-1": "call 0 1"})
    assert combine([tmp_path / "a", tmp_path / "b"], tmp_path / "all") == 2
    assert read_tables(tmp_path / "all")["wav.scp"] == {"call": "x.wav"}
    with pytest.raises(UserError, match=r"c/wav.scp: call: another directory has this id too"):
        combine([tmp_path / "a", tmp_path / "c"], tmp_path / "both")
