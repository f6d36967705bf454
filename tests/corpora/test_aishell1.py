from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from m2asr.corpora.aishell1 import prepare
from m2asr.data.directory import read_table
from tests.corpora import trees
from tests.corpora.bad import append, check_clean, check_refused, copy, cut, edit, remove

TABLE = "transcript/aishell_transcript_v0.8.txt"
DEV = "wav/dev/S0724/BAC009S0724W0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.aishell1(tmp_path)


def test_sets_hold_what_the_corpus_holds(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    summary = str(prepare(root.parent, out))
    assert sorted(path.name for path in out.iterdir()) == ["dev", "test", "train", "unlabelled"]
    check_clean(out, untexted=("unlabelled",))
    assert read_table(out / "dev/text") == {"BAC009S0724W0122": "今天二十五度", "BAC009S0724W0123": "而对楼市成交抑制作用最大的限购"}
    assert read_table(out / "dev/utt2spk")["BAC009S0724W0122"] == "BAC009S0724" and len(read_table(out / "train/spk2utt")) == 2
    assert set(read_table(out / "train/utt2lang").values()) == {"zh"}
    assert "train                         4" in summary and "120098 utterances, 150.9 h, 340 speakers" in summary
    assert "dropped 1: dev without transcript: BAC009S0724W0121" in summary
    assert "dropped 1: test without transcript: BAC009S0764W0121" in summary


def test_unlabelled_is_train_without_transcript(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data")
    assert set(read_table(tmp_path / "data/unlabelled/utt2spk")) == {"BAC009S0002W0121", "BAC009S0003W0121"}
    assert not (tmp_path / "data/unlabelled/text").exists()


def test_parts_can_be_chosen(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data", ["dev", "test"])
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["dev", "test"]


SPOILED = {
    "no transcript": (remove(TABLE), f"{TABLE}: cannot read"),
    "another version": (
        lambda root: (root / TABLE).rename(root / "transcript/aishell_transcript_v0.9.txt"),
        "aishell_transcript_v0.9.txt: an unexpected version of the transcripts; aishell_transcript_v0.8.txt is needed",
    ),
    "no dev": (lambda root: (root / "wav/dev").rename(root / "dev"), "wav: no dev in it; extract data_aishell.tgz"),
    "no wav": (lambda root: (root / "wav").rename(root / "wave"), "wav: not found; extract or fetch data_aishell.tgz"),
    "transcript without audio": (remove(f"{DEV}122.wav"), f"{TABLE}:5: BAC009S0724W0122: there is no recording of it"),
    "speaker without audio": (lambda root: (root / "wav/dev/S0724").rename(root / "S0724"), f"{TABLE}:5: BAC009S0724W0122: there is no"),
    "wrong place": (copy(f"{DEV}122.wav", "wav/dev/S0725/BAC009S0724W0122.wav"), "is no recording of speaker S0725"),
    "in two parts": (copy(f"{DEV}122.wav", "wav/test/S0724/BAC009S0724W0122.wav"), "BAC009S0724W0122: this id was already in "),
    "cut recording": (cut(f"{DEV}123.wav"), f"{TABLE}:6: "),
    "id twice": (append(TABLE, "BAC009S0764W0122 打开"), f"{TABLE}:9: BAC009S0764W0122: this id was already in "),
    "no text": (append(TABLE, "BAC009S0764W0199"), f"{TABLE}:9: BAC009S0764W0199: no text"),
    "not UTF-8": (edit(TABLE, "打开 空调", "\xe9\xe9"), f"{TABLE}:2: not UTF-8"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_input_is_named(name: str, root: Path) -> None:
    spoil, message = SPOILED[name]
    spoil(root)
    check_refused("aishell1", root, message)


def test_speakers_that_are_not_extracted_are_named(root: Path) -> None:
    with tarfile.open(root / "wav/S0009.tar.gz", "w:gz"):
        pass
    check_refused("aishell1", root, "S0009.tar.gz: it is not extracted (1 such); run: cd ")


def test_a_wrong_folder_is_named(root: Path) -> None:
    check_refused("aishell1", root / "wav/dev", "none of wav, transcript is in it, nor in data_aishell/; it holds S0724; give the folder")
