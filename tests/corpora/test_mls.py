from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.corpora.mls import prepare
from m2asr.data.directory import read_table
from tests.corpora import trees
from tests.corpora.bad import append, check_clean, check_refused, copy, cut, edit, remove


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.mls(tmp_path / "mls")


@pytest.mark.parametrize("ending", [".flac", ".opus"])
def test_sets_hold_what_the_corpus_holds(ending: str, tmp_path: Path) -> None:
    root, out = trees.mls(tmp_path / "mls", ending), tmp_path / "data"
    summary = str(prepare(root, out))
    assert sorted(path.name for path in out.iterdir()) == ["dev_it", "test_it", "train_1h_it", "train_9h_it", "train_it"]
    check_clean(out)
    train = read_table(out / "train_it/text")
    assert len(train) == 16 and train["100-7-000000"] == "tutti i circuiti sono ora occupati"
    assert set(read_table(out / "train_it/utt2lang").values()) == {"it"}
    assert read_table(out / "train_it/spk2utt").keys() == {"10", "100"}
    assert read_table(out / "train_it/wav.scp")["10-7-000003"].endswith(f"/train/audio/10/7/10_7_000003{ending}")
    assert "59623 utterances, 247.38 h" in summary and "train_it differs: 16 utterances, 59623 are published" in summary


def test_limited_subsets_are_those_of_the_lists(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data")
    assert set(read_table(tmp_path / "data/train_9h_it/text")) == {f"100-7-00000{n}" for n in range(3)}
    assert set(read_table(tmp_path / "data/train_1h_it/text")) == {f"10-7-00000{n}" for n in range(6)}


def test_languages_can_be_chosen(root: Path, tmp_path: Path) -> None:
    trees.mls(root, language="polish")
    prepare(root, tmp_path / "data", ["italian"])
    prepare(root / "mls_italian", tmp_path / "own")
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {path.name for path in (tmp_path / "own").iterdir()} and all(name.endswith("_it") for name in names)
    prepare(root, tmp_path / "both")
    assert len(list((tmp_path / "both").iterdir())) == 10
    check_refused("mls", root, "--parts german: ", ("german",))
    check_refused("mls", root, "--parts klingon: no language of MLS; valid: english, german", ("klingon",))


DEV = "mls_italian/dev"
SPOILED = {
    "no dev": (lambda root: (root / DEV).rename(root / "dev"), "dev/transcripts.txt: not found; extract or fetch mls_italian.tar"),
    "no list": (remove("mls_italian/train/limited_supervision/1hr/3/handles.txt"), "1hr/3/handles.txt: not found; extract or fetch"),
    "unknown in a list": (
        append("mls_italian/train/limited_supervision/9hr/handles.txt", "9_9_000009"),
        "9hr/handles.txt:4: 9_9_000009: no line of ",
    ),
    "twice in a list": (
        append("mls_italian/train/limited_supervision/9hr/handles.txt", "100_7_000001"),
        "9hr/handles.txt:4: 100_7_000001: this id was already in ",
    ),
    "in two lists": (
        append("mls_italian/train/limited_supervision/1hr/3/handles.txt", "100_7_000001"),
        "1hr/3/handles.txt:2: 100_7_000001: this id was already in ",
    ),
    "transcript without audio": (remove(f"{DEV}/audio/20/7/20_7_000001.flac"), "dev/transcripts.txt:2: its recording "),
    "audio without transcript": (
        copy(f"{DEV}/audio/20/7/20_7_000001.flac", f"{DEV}/audio/20/7/20_7_000002.flac"),
        "20_7_000002.flac: no line of ",
    ),
    "cut recording": (cut(f"{DEV}/audio/20/7/20_7_000001.flac"), "dev/transcripts.txt:2: "),
    "id twice": (append(f"{DEV}/transcripts.txt", "20_7_000001\tciao"), "dev/transcripts.txt:3: 20_7_000001: this id was already in"),
    "in two parts": (append(f"{DEV}/transcripts.txt", "10_7_000001\tciao"), "dev/transcripts.txt:3: 10_7_000001: this id was already in"),
    "strange id": (append(f"{DEV}/transcripts.txt", "20-7-000002\tciao"), "transcripts.txt:3: 20-7-000002: is not written <speaker>_"),
    "no text": (append(f"{DEV}/transcripts.txt", "20_7_000002\t"), "dev/transcripts.txt:3: 20_7_000002: no text"),
    "latin-1": (edit(f"{DEV}/transcripts.txt", "20_7_000001\t", "20_7_000001\t\xe9"), "dev/transcripts.txt:2: not UTF-8"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_input_is_named(name: str, root: Path) -> None:
    spoil, message = SPOILED[name]
    spoil(root)
    check_refused("mls", root, message)


def test_a_wrong_folder_is_named(root: Path) -> None:
    check_refused("mls", root / DEV, "none of mls_english, mls_english_opus, mls_german, mls_german_opus ... is in it, nor in mls/")
