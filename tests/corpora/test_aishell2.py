from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from m2asr.corpora.aishell2 import prepare
from m2asr.data.directory import read_table
from tests.corpora import trees
from tests.corpora.bad import append, check_clean, check_refused, copy, cut, edit, remove


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.aishell2(tmp_path)


@pytest.mark.parametrize("evaluation", ["AISHELL-DEV-TEST-SET", ""])
def test_sets_hold_what_the_corpus_holds(evaluation: str, tmp_path: Path) -> None:
    root, out = trees.aishell2(tmp_path, evaluation), tmp_path / "data"
    summary = str(prepare(root, out))
    assert sorted(path.name for path in out.iterdir()) == ["dev_android", "dev_ios", "test_android", "test_ios", "train"]
    check_clean(out)
    assert read_table(out / "train/text")["IC0001W0003"] == "今天二十五度"
    assert read_table(out / "train/utt2spk")["IC0001W0003"] == "IC0001" and len(read_table(out / "train/spk2utt")) == 2
    assert read_table(out / "dev_android/wav.scp")["AD0000W0000"].endswith("Android/dev/wav/D0000/AD0000W0000.wav")
    assert "1000 h, 1991 speakers" in summary and "dev_ios differs: 4 utterances, 2500 are published; 2 speakers, 5" in summary
    assert "not there: dev_mic; to have it, fetch AISHELL-DEV-TEST-SET (Mic/dev) from aishelltech.com/aishell_eval" in summary


def test_parts_can_be_chosen(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data", ["train", "dev_ios"])
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["dev_ios", "train"]
    check_refused("aishell2", root, "--parts dev_mic: it is not there; fetch AISHELL-DEV-TEST-SET", ("dev_mic",))


SPOILED = {
    "no list": (remove("iOS/data/wav.scp"), "iOS/data/wav.scp: cannot read"),
    "no transcripts": (remove("iOS/data/trans.txt"), "iOS/data/trans.txt: cannot read"),
    "transcript without audio": (remove("iOS/data/wav/C0000/IC0000W0001.wav"), "trans.txt:2: its recording "),
    "transcript not listed": (append("iOS/data/trans.txt", "IC0001W0009\t打开"), "trans.txt:5: IC0001W0009: has no line in wav.scp"),
    "audio without transcript": (append("iOS/data/wav.scp", "IC0001W0009\twav/x.wav"), "wav.scp:5: IC0001W0009: has no line in trans.txt"),
    "audio not listed": (
        copy("iOS/data/wav/C0000/IC0000W0001.wav", "iOS/data/wav/C0000/IC0000W0009.wav"),
        "IC0000W0009.wav: no line of ",
    ),
    "cut recording": (cut("iOS/data/wav/C0000/IC0000W0001.wav"), "trans.txt:2: "),
    "id twice": (append("iOS/data/trans.txt", "IC0001W0003\t打开"), "trans.txt:5: IC0001W0003: this id was already in "),
    "listed twice": (append("iOS/data/wav.scp", "IC0001W0003\twav/x.wav"), "wav.scp:5: IC0001W0003: this id was already in "),
    "no text": (append("iOS/data/trans.txt", "IC0001W0003"), "trans.txt:5: IC0001W0003: no text"),
    "not UTF-8": (edit("iOS/data/trans.txt", "打开", "\xe9"), "trans.txt:3: not UTF-8"),
}


@pytest.mark.parametrize("part", ["dev", "test"])
def test_what_is_trained_on_is_not_tested(part: str, root: Path) -> None:
    data, target = root / "iOS/data", root / f"AISHELL-DEV-TEST-SET/iOS/{part}"
    copy("iOS/data/wav/C0000/IC0000W0001.wav", f"AISHELL-DEV-TEST-SET/iOS/{part}/wav/C0000/IC0000W0001.wav")(root)
    for name in ("wav.scp", "trans.txt"):
        with open(target / name, "a", encoding="utf-8") as file:
            file.write((data / name).read_text(encoding="utf-8").splitlines()[1] + "\n")
    check_refused("aishell2", root, f"iOS/{part}/trans.txt:5: IC0000W0001: is in train too, {data / 'trans.txt'}:2")


def test_channels_of_a_set_may_share_ids(root: Path, tmp_path: Path) -> None:
    below = root / "AISHELL-DEV-TEST-SET"
    shutil.rmtree(below / "Android/dev")
    shutil.copytree(below / "iOS/dev", below / "Android/dev")
    prepare(root, tmp_path / "data")
    assert read_table(tmp_path / "data/dev_android/text") == read_table(tmp_path / "data/dev_ios/text")


@pytest.mark.parametrize("name", SPOILED)
def test_bad_input_is_named(name: str, root: Path) -> None:
    spoil, message = SPOILED[name]
    spoil(root)
    check_refused("aishell2", root, message)


def test_a_wrong_folder_is_named(root: Path) -> None:
    check_refused("aishell2", root / "iOS/data/wav", "none of iOS/data, iOS/dev, iOS/test, Android/dev ... is in it")
