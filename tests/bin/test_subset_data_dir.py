from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.data.directory import read_table
from tests.conftest import command


def test_takes_the_ids_of_a_list(small_data: Path) -> None:
    utts = list(read_table(small_data / "utt2spk"))
    (small_data.parent / "ids").write_text("".join(f"{utt} whatever\n" for utt in utts[::-3]))
    result = command("subset_data_dir", "--utt-list", small_data.parent / "ids", small_data, small_data.parent / "some")
    assert result.returncode == 0 and "some: 4 utterances" in result.stdout
    assert list(read_table(small_data.parent / "some" / "text")) == sorted(utts[::-3])


@pytest.mark.parametrize(
    "options, code, message",
    [
        ([], 2, "give either --first or --utt_list"),
        (["--first", "3", "--utt_list", "x"], 2, "give either --first or --utt_list"),
        (["--first", "0"], 2, "--first 0: at least one utterance"),
        (["--utt_list", "nowhere"], 1, "nowhere: cannot read"),
    ],
)
def test_wrong_options_end_in_one_line(options: list[str], code: int, message: str, small_data: Path) -> None:
    result = command("subset_data_dir", *options, small_data, small_data.parent / "some")
    assert result.returncode == code and message in result.stderr and result.stderr.count("\n") == 1
    assert not (small_data.parent / "some").exists()


def test_a_folder_that_is_no_data_directory_is_not_overwritten(small_data: Path) -> None:
    """The parent of a data directory is given by mistake: nothing in it is lost."""
    for line in (["subset_data_dir", "--first", 3, small_data, small_data.parent], ["combine_data", small_data.parent, small_data]):
        result = command(*line)
        assert result.returncode == 1 and "did not make this folder" in result.stderr
        assert len(read_table(small_data / "text")) == 12
