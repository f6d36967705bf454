from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import CORPUS, command


def test_it_prints_its_sets_and_writes_the_same_files_a_second_time(mini_data: Path, tmp_path: Path) -> None:
    result = command("prepare", "mini", "--corpus", CORPUS, "--out", tmp_path / "data")
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert set(rows) == {"set"} | {path.name for path in mini_data.iterdir()}
    for folder in mini_data.iterdir():
        assert int(rows[folder.name][0]) == len((folder / "text").read_bytes().splitlines())
        for path in (tmp_path / "data" / folder.name).iterdir():  # other tests may have added an index to the shared one
            assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.mark.parametrize(
    "options, code, message",
    [
        (["minni", "--corpus", "x"], 2, "unknown corpus `minni`"),
        (["mini"], 2, "--corpus"),
        (["mini", "--corpus"], 2, "--corpus: expected one argument"),
        (["mini", "--corpus", "/nowhere"], 1, "--corpus /nowhere: no such folder"),
        (["mini", "--corpos", "x", "--corpus", "x"], 2, "did you mean --corpus"),
        (["mini", "--corpus", "tests"], 1, "transcripts.tsv: not found"),
        (["mini", "--corpus", CORPUS, "--parts", "de"], 2, "--parts de: no such part; valid: en, it, ru"),
        (["librispeech", "--corpus", "tests"], 1, "--corpus tests: none of train-clean-100, "),
        (["librispeech", "--corpus", "tests", "--max-bad", "some"], 2, "--max_bad: give a whole number from 0 to 1000000000, not 'some'"),
    ],
)
def test_wrong_options_end_in_one_line(options: list[str], code: int, message: str, tmp_path: Path) -> None:
    result = command("prepare", *options, "--out", tmp_path / "data")
    assert result.returncode == code and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_parts_are_words_and_none_are_all(mini_data: Path, tmp_path: Path) -> None:
    for parts, langs in (["en", "it"], {"en", "it"}), (["en it"], {"en", "it"}), ([""], {"en", "it", "ru"}):
        result = command("prepare", "mini", "--corpus", CORPUS, "--out", tmp_path / "-".join(["data", *parts]), "--parts", *parts)
        assert result.returncode == 0 and {line.split()[0].rpartition("_")[2] for line in result.stdout.splitlines()[1:]} == langs
