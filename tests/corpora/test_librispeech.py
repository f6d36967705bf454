from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.corpora import CORPORA
from m2asr.corpora.librispeech import prepare
from m2asr.data.directory import read_table
from m2asr.errors import UserError
from tests.corpora import trees
from tests.corpora.bad import append, check_clean, check_refused, copy, cut, edit, remove


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.librispeech(tmp_path)


def test_sets_hold_what_the_corpus_holds(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    summary = str(prepare(root.parent, out))
    assert sorted(path.name for path in out.iterdir()) == ["dev_clean", "test_clean", "train_clean_100"]
    check_clean(out)
    train = out / "train_clean_100"
    assert sorted(read_table(train / "text")) == sorted(f"{key}-000{n}" for key in ("1-100", "10-200", "10-201") for n in (0, 1))
    assert read_table(train / "text")["10-201-0001"] == "agent logged in"
    assert read_table(train / "utt2spk")["10-201-0001"] == "10" and set(read_table(train / "utt2lang").values()) == {"en"}
    assert read_table(train / "wav.scp")["10-201-0001"] == str(root / "train-clean-100/10/201/10-201-0001.flac")
    assert float(read_table(train / "utt2dur")["10-201-0001"]) == pytest.approx(len(trees.wave(1)) / 16000, abs=1e-3)
    assert "train_clean_100               6" in summary and "28539 utterances, 100.6 h, 251 speakers" in summary
    assert "train_clean_100 differs: 6 utterances, 28539 are published; " in summary
    assert "not there: dev-other; to have it, fetch dev-other.tar.gz from OpenSLR 12" in summary


def test_again_is_the_same_and_the_folder_itself_will_do(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    prepare(root.parent, out)
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    prepare(root, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == first


def test_parts_can_be_chosen(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data", ["dev-clean"])
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["dev_clean"]
    check_refused("librispeech", root, "--parts dev-other: it is not there; fetch dev-other.tar.gz", ("dev-clean", "dev-other"))
    check_refused("librispeech", root, "--parts dev-clear: no such part; did you mean `dev-clean`?", ("dev-clear",))


CHAPTER = "dev-clean/2/100/"
SPOILED = {
    "transcript without audio": (remove(f"{CHAPTER}2-100-0001.flac"), "2-100.trans.txt:2: its recording "),
    "audio without transcript": (copy(f"{CHAPTER}2-100-0001.flac", f"{CHAPTER}2-100-0002.flac"), "2-100-0002.flac: no line of 2-100"),
    "no transcripts": (remove(f"{CHAPTER}2-100.trans.txt"), "2-100.trans.txt: cannot read: No such file or directory; extract"),
    "cut recording": (cut(f"{CHAPTER}2-100-0001.flac"), "2-100.trans.txt:2: "),
    "empty recording": (cut(f"{CHAPTER}2-100-0001.flac", 0), "2-100-0001.flac: cannot read this recording"),
    "id twice": (append(f"{CHAPTER}2-100.trans.txt", "2-100-0001 AGAIN"), "2-100.trans.txt:3: 2-100-0001: this id was already in"),
    "id of another": (append(f"{CHAPTER}2-100.trans.txt", "3-100-0001 AGAIN"), "2-100.trans.txt:3: 3-100-0001: is no utterance of 2/100"),
    "no text": (append(f"{CHAPTER}2-100.trans.txt", "2-100-0002"), "2-100.trans.txt:3: 2-100-0002: no text"),
    "empty line": (append(f"{CHAPTER}2-100.trans.txt", ""), "2-100.trans.txt:3: an empty line: no text"),
    "latin-1": (edit(f"{CHAPTER}2-100.trans.txt", "0001 ", "0001 CAF\xe9 "), "2-100.trans.txt:2: not UTF-8"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_input_is_named(name: str, root: Path) -> None:
    spoil, message = SPOILED[name]
    spoil(root)
    check_refused("librispeech", root, message)


def test_wrong_folders_are_named(root: Path) -> None:
    check_refused("librispeech", root / "dev-clean", "none of train-clean-100, train-clean-360, train-other-500, dev-clean ... is in it")
    (root / "test-other").mkdir()
    check_refused("librispeech", root, "test-other: no <speaker>/<chapter>/ in it; extract test-other.tar.gz again")


def test_an_id_in_two_parts_is_named(root: Path) -> None:
    for name in ("2-100.trans.txt", "2-100-0000.flac", "2-100-0001.flac"):
        copy(f"{CHAPTER}{name}", f"test-clean/2/100/{name}")(root)
    check_refused("librispeech", root, "test-clean/2/100/2-100.trans.txt:1: 2-100-0000: this id was already in ")


def test_some_bad_utterances_can_be_allowed(root: Path, tmp_path: Path) -> None:
    for name in ("2-100-0000", "2-100-0001"):
        cut(f"{CHAPTER}{name}.flac")(root)
    summary = str(CORPORA["librispeech"](root, tmp_path / "data", max_bad=2))
    assert "dropped 2: unusable: " in summary and "2-100.trans.txt:1: " in summary
    assert len(read_table(tmp_path / "data/dev_clean/text")) == 4
    with pytest.raises(UserError, match=r"2-100.trans.txt:2: .*\(2 such; --max_bad 1 allows fewer\)"):
        prepare(root, tmp_path / "other", max_bad=1)


def test_utterances_without_words_are_dropped_and_told(root: Path, tmp_path: Path) -> None:
    edit(f"{CHAPTER}2-100.trans.txt", "2-100-0001 " + trees.said(3).upper().rstrip("."), "2-100-0001 ...")(root)
    assert "dropped 1: nothing left after normalization: 2-100-0001" in str(prepare(root, tmp_path / "data"))
