"""Commands replace only what this toolkit made: options that name a wrong folder or file lose nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from m2asr.errors import UserError
from m2asr.files import replace_dir
from m2asr.ownership import claim, note, read_mark
from tests.conftest import ROOT, command
from tests.fuzz.commands import limited

FBANK = ROOT / "egs/mini/conf/fbank.yaml"
TOKENS = ["--config", ROOT / "egs/mini/conf/train_m2asr.yaml"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path, message: str, module: str, *args: object) -> None:
    """A command ends with one line and leaves the folder as it was."""
    before = contents(folder)
    done = command(module, *args)
    assert done.returncode in (1, 2) and message in done.stderr and done.stderr.count("\n") == 1, done.stdout + done.stderr
    assert contents(folder) == before


def test_features_do_not_replace_the_data_they_are_computed_from(small_data: Path) -> None:
    root = small_data.parent
    args = ("--config", FBANK, "--nj", 1, "--data", root, "--dump", root, "small")
    refused(root, "it holds a data directory, and features would replace it", "fbank", *args)


def test_no_command_replaces_a_folder_of_others(mini_data: Path, small_data: Path, tmp_path: Path) -> None:
    message = "did not make this folder"
    for name in ("dump/small", "tokens/en", "copy", "joined", "texts"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "thesis.txt").write_text("precious")
    (tmp_path / "lines.txt").write_text("buongiorno a tutti\n")
    refused(tmp_path, message, "fbank", "--config", FBANK, "--data", tmp_path, "--dump", tmp_path / "dump", "small")
    refused(tmp_path, message, "tokens", *TOKENS, "--data", mini_data, "--out", tmp_path / "tokens")
    refused(tmp_path, message, "subset_data_dir", "--first", 2, small_data, tmp_path / "copy")
    refused(tmp_path, message, "combine_data", tmp_path / "joined", small_data)
    refused(tmp_path, message, "prepare_text", tmp_path / "lines.txt", "--lang", "it", "--out", tmp_path / "texts")


def test_a_data_directory_that_others_made_is_theirs(small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(small_data, tmp_path / "kaldi", ignore=shutil.ignore_patterns(".m2asr"))
    refused(tmp_path, "did not make this folder", "subset_data_dir", "--first", 2, small_data, tmp_path / "kaldi")


def test_source_and_target_differ(small_data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(small_data)
    for target in (small_data, f"{small_data}/../small", tmp_path / "link"):
        refused(tmp_path, "which is the same folder", "subset_data_dir", "--first", 2, small_data, target)
        refused(tmp_path, "which is the same folder", "combine_data", target, small_data)


def test_what_was_added_to_a_folder_is_not_lost_with_it(mini_data: Path, small_data: Path, tmp_path: Path) -> None:
    (small_data / "spk2gender").write_text("it m\n")
    refused(tmp_path, "did not write spk2gender", "subset_data_dir", "--first", 2, mini_data / "dev_it", small_data)
    assert command("fix_data_dir", small_data).returncode == 0  # a repair keeps it, and it stays theirs
    refused(tmp_path, "did not write spk2gender", "subset_data_dir", "--first", 2, mini_data / "dev_it", small_data)
    (small_data / "spk2gender").unlink()
    assert command("phones", small_data, "--how", "letters").returncode == 0
    done = command("subset_data_dir", "--first", 2, mini_data / "dev_it", small_data)
    assert done.returncode == 0, done.stderr


def test_every_repair_keeps_a_copy(small_data: Path) -> None:
    (small_data / "text").write_text("a first\n" + (small_data / "text").read_text())
    original = (small_data / "text").read_bytes()
    assert "as it was" in command("fix_data_dir", small_data).stdout
    repaired = (small_data / "text").read_bytes()
    command("fix_data_dir", small_data)
    assert (small_data / ".backup/text").read_bytes() == original != repaired
    assert (small_data / ".backup2/text").read_bytes() == repaired and not (small_data / ".backup2/.backup").exists()


def test_a_linked_folder_is_replaced_where_it_points(tmp_path: Path) -> None:
    with replace_dir(tmp_path / "disk/set", "features") as folder:
        (folder / "old").touch()
    (tmp_path / "set").symlink_to(tmp_path / "disk/set")
    with replace_dir(tmp_path / "set", "features") as folder:
        (folder / "new").touch()
    assert (tmp_path / "set").is_symlink() and sorted(os.listdir(tmp_path / "disk/set")) == [".m2asr", "new"]


def test_files_of_others_stay_and_our_own_are_written_again(tmp_path: Path) -> None:
    (tmp_path / "call.txt").write_text("by hand")
    claim(tmp_path, ["talk.txt"])
    (tmp_path / "talk.txt").write_text("ours")
    claim(tmp_path, ["talk.txt"])
    with pytest.raises(UserError, match="call.txt: this toolkit did not write this file"):
        claim(tmp_path, ["call.txt"])
    with pytest.raises(UserError, match="it holds files"), replace_dir(tmp_path, "features"):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_mark_that_is_no_file_is_told(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / ".m2asr")
    for act in (read_mark, lambda folder: note(folder, "index"), lambda folder: claim(folder, ["lm.arpa"])):
        with limited(30), pytest.raises(UserError, match=".m2asr: it is no file, so what may be replaced here is not known; remove it"):
            act(tmp_path)
