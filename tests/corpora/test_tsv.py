from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2asr.corpora.tsv import prepare
from m2asr.data.directory import read_table
from tests.corpora import trees
from tests.corpora.bad import append, check_clean, check_refused, copy, cut, edit, remove


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.own(tmp_path)


def test_sets_hold_what_the_tables_hold(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    prepare(root, out)
    assert sorted(path.name for path in out.iterdir()) == ["dev", "test", "train"]
    check_clean(out)
    seconds = len(trees.wave(2, "it")) / 16000
    (utt,) = [utt for utt in read_table(out / "train/utt2dur") if utt.startswith("anna0-train-2-0000000-")]
    assert float(read_table(out / "train/utt2dur")[utt]) == pytest.approx(seconds, abs=0.01) == int(utt[-7:]) / 1000
    assert read_table(out / "train/segments") and set(read_table(out / "train/text.en").values()) == {trees.said(n) for n in range(2, 10)}
    assert read_table(out / "dev/utt2spk") == {"anna0-dev-10": "anna0", "anna0-dev-12": "anna0", "anna1-dev-11": "anna1"}
    assert read_table(out / "dev/wav.scp")["anna1-dev-11"] == str(root / "dev/11.wav") and not (out / "dev/segments").exists()
    assert read_table(out / "test/utt2lang")["anna1-test-13"] == "it"


def test_recordings_need_no_text(root: Path, tmp_path: Path) -> None:
    trees.write_lines(root / "raw.tsv", "lang\tpath\tspeaker", "it\tdev/10.wav\tanna")
    prepare(root, tmp_path / "data", ["raw"])
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]
    check_clean(tmp_path / "data", untexted=("raw",))


def test_recordings_that_no_table_names_are_told(root: Path, tmp_path: Path) -> None:
    copy("dev/10.wav", "dev/more/10.WAV")(root)
    copy("dev/10.wav", "dev/10.txt")(root)
    edit("dev.tsv", "dev/10.wav", "train/../dev/10.wav")(root)
    dropped = f"dropped 1: recordings that no table names: {root}/dev/more/10.WAV"
    assert dropped in str(prepare(root, tmp_path / "data")).splitlines()
    assert "no table names" not in str(prepare(root, tmp_path / "data", ["train"]))


def test_a_table_without_rows_is_told_or_refused(root: Path, tmp_path: Path) -> None:
    trees.write_lines(root / "more.tsv", "path\tspeaker\tlang\ttext")
    assert "more differs: no utterance in it" in str(prepare(root, tmp_path / "data"))
    check_refused("tsv", root, "more: no utterance in it; fetch it again, or leave it out of --parts", ("dev", "more"))


def shorten(root: Path) -> None:
    soundfile.write(root / "dev/10.wav", np.zeros(320), 16000)


SPOILED = {
    "too short": (shorten, "dev.tsv:2: anna0-dev-10: 0.020 s are shorter than a window of 25 ms"),
    "recording is missing": (remove("dev/10.wav"), "dev.tsv:2: its recording "),
    "recording is cut": (cut("dev/10.wav"), "dev.tsv:2: "),
    "no speaker": (append("dev.tsv", "dev/10.wav\t\tit\tciao"), "dev.tsv:5: the column `speaker` is empty or holds a space"),
    "no text": (append("dev.tsv", "dev/10.wav\tanna\tit\t"), "dev.tsv:5: the column `text` is empty"),
    "twice": (append("dev.tsv", "dev/10.wav\tanna0\tit\tciao"), "dev.tsv:5: anna0-dev-10: this id was already in "),
    "strange column": (edit("dev.tsv", "text", "texts"), "dev.tsv:1: unknown column texts; valid: path, speaker, lang, text, start, end"),
    "column twice": (edit("dev.tsv", "path\t", "path\tspeaker\t"), "dev.tsv:1: two columns are called `speaker`; rename or remove one"),
    "tab in a field": (append("dev.tsv", 'dev/10.wav\tanna\tit\t"a\tb"'), "dev.tsv:5: 5 columns where the header has 4; correct this line"),
    "quoted, but empty": (append("dev.tsv", 'dev/10.wav\tanna\tit\t""'), "dev.tsv:5: the column `text` is empty"),
    "UTF-16": (lambda root: (root / "dev.tsv").write_text("path", "utf-16"), "dev.tsv:1: not UTF-8"),
    "column missing": (edit("dev.tsv", "speaker", "talker"), "dev.tsv:1: no column speaker in its header"),
    "end before start": (edit("train.tsv", "\t0.0\t", "\t9.0\t"), "train.tsv:2: `start` and `end` are not inside its "),
    "no number": (edit("train.tsv", "\t0.0\t", "\tsoon\t"), "train.tsv:2: `start` and `end` are not inside its "),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_input_is_named(name: str, root: Path) -> None:
    spoil, message = SPOILED[name]
    spoil(root)
    check_refused("tsv", root, message)


def test_quotes_of_spreadsheets_go_and_those_of_the_texts_stay(root: Path, tmp_path: Path) -> None:
    """Fields with quotes inside are in quotes, which are doubled inside; or all fields are."""
    said, translation = "«Ciao», disse.", '"Hi," he said.'
    quoted = '"' + translation.replace('"', '""') + '"'
    head = ["path", "speaker", "lang", "text", "text.en"]
    trees.write_lines(root / "minimal.tsv", "\t".join(head), "\t".join(["dev/10.wav", "anna", "it", said, quoted]))
    everywhere = [f'"{field}"' for field in ("dev/10.wav", "anna", "it", said)]
    trees.write_lines(root / "all.tsv", "\t".join(f'"{name}"' for name in head), "\t".join([*everywhere, quoted]))
    trees.write_lines(root / "none.tsv", "\t".join(head), "\t".join(["dev/10.wav", "anna", "it", said, translation]))
    trees.write_lines(root / "literal.tsv", "\t".join(head), "\t".join(["dev/10.wav", "anna", "it", said, '"Hi."']))
    texts = {}
    for name in ("minimal", "all", "none", "literal"):
        prepare(root, tmp_path / name, [name])
        texts[name] = read_table(tmp_path / name / name / "text.en")["anna-dev-10"]
    assert texts == dict.fromkeys(("minimal", "all", "none"), translation) | {"literal": '"Hi."'}
    assert read_table(tmp_path / "all/all/text") == {"anna-dev-10": "ciao disse"}


def test_languages_have_regions_and_scripts(root: Path, tmp_path: Path) -> None:
    line = "dev/10.wav\tanna\tzh-Hant-TW\t我 有 12 個\t我有十二个"
    trees.write_lines(root / "zh.tsv", "path\tspeaker\tlang\ttext\ttext.zh-CN", line)
    prepare(root, tmp_path / "data", ["zh"])
    check_clean(tmp_path / "data")
    assert read_table(tmp_path / "data/zh/text") == {"anna-dev-10": "我有十二個"}
    append("zh.tsv", "dev/12.wav\tanna\tchinese\t我\t我")(root)
    check_refused("tsv", root, "zh.tsv:3: the column `lang` holds `chinese`, no language code like it or zh-CN", ("zh",))


def test_a_folder_without_tables_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_refused("tsv", tmp_path / "empty", "no *.tsv in it; write train.tsv, dev.tsv, test.tsv with columns path, speaker, lang, text")
