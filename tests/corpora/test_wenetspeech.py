from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from m2asr.corpora.wenetspeech import prepare
from m2asr.data.directory import read_table
from tests.corpora import trees
from tests.corpora.bad import check_clean, check_refused, copy, cut, edit, remove

YOUTUBE = "Y0000000001_--5llN02F84"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.wenetspeech(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "WenetSpeech"))


def line_of(root: Path, text: str) -> int:
    return (root / "WenetSpeech.json").read_text(encoding="utf-8").partition(text)[0].count("\n") + 1


def test_sets_hold_what_the_corpus_holds(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    summary = str(prepare(root, out))
    names = ["dev", "test_meeting", "test_net", "train_l", "train_m", "train_s", "unlabelled"]
    assert sorted(path.name for path in out.iterdir()) == names
    check_clean(out, untexted=("unlabelled",))
    assert [len(read_table(out / name / "segments")) for name in names[:-1]] == [3, 3, 3, 7, 2, 1]
    assert read_table(out / "train_s/text") == {f"{YOUTUBE}_S00002": "今天二十五度"}
    assert read_table(out / "train_s/segments") == {f"{YOUTUBE}_S00002": f"{YOUTUBE} 2.000 3.400"}
    assert read_table(out / "train_s/wav.scp") == {YOUTUBE: str(root / f"audio/train/youtube/B00000/{YOUTUBE}.opus")}
    assert read_table(out / "train_s/utt2spk") == {f"{YOUTUBE}_S00002": YOUTUBE}
    assert set(read_table(out / "train_l/utt2lang").values()) == {"zh"}
    assert "train_l differs: 0.00 hours, 10005 are published" in summary


def test_unlabelled_is_what_is_left_of_training_recordings(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data")
    recordings = read_table(tmp_path / "data/unlabelled/wav.scp")
    assert recordings.keys() == {YOUTUBE, "P0000000002"}
    labelled = [value.split() for value in read_table(tmp_path / "data/train_l/segments").values()]
    stretches = [value.split() for value in read_table(tmp_path / "data/unlabelled/segments").values()]
    assert stretches
    for recording, start, end in stretches:
        assert 1.0 <= float(end) - float(start) <= 20.0
        for labelled_recording, first, last in labelled:
            assert recording != labelled_recording or float(end) <= float(first) or float(start) >= float(last)
    assert (YOUTUBE, "4.900") in {(recording, start) for recording, start, _ in stretches}  # its last segment is in no set


def test_parts_can_be_chosen_and_need_only_their_recordings(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "audio/train")
    prepare(root, tmp_path / "data", ["dev", "test_net"])
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["dev", "test_net"]
    summary = str(prepare(root, tmp_path / "there"))
    assert "not there: train_l; to have it, fetch audio/train with utils/download_wenetspeech.sh" in summary
    check_refused("wenetspeech", root, "--parts train_m: it is not there", ("train_m",))


def test_a_table_without_line_breaks_is_read_alike(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data")
    table = root / "WenetSpeech.json"
    table.write_text("".join(line.strip() for line in table.read_text(encoding="utf-8").splitlines()), encoding="utf-8")
    prepare(root, tmp_path / "other")
    for path in (path for path in (tmp_path / "data").rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "other" / path.relative_to(tmp_path / "data")).read_bytes()


def test_unknown_fields_and_subsets_are_noted_once(root: Path, tmp_path: Path) -> None:
    edit("WenetSpeech.json", '"subsets": []', '"subsets": ["XL"]')(root)
    for _ in range(2):
        edit("WenetSpeech.json", '"confidence": 1.0', '"trust": 1.0')(root)
    summary = str(prepare(root, tmp_path / "data"))
    location = f"{root / 'WenetSpeech.json'}:{line_of(root, f'{YOUTUBE}_S00000')}"
    assert f"{location}: field `trust` is not known and not read" in summary and summary.count("`trust`") == 1
    assert "subset `XL` is not known" in summary
    assert len(read_table(tmp_path / "data/train_l/text")) == 7


def test_weak_labels_are_a_set_only_where_they_are_asked_for(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "before", ["unlabelled"])
    edit("WenetSpeech.json", '"subsets": []', '"subsets": ["W"]')(root)
    summary = str(prepare(root, tmp_path / "data"))
    assert not (tmp_path / "data/train_w").exists() and "not known" not in summary
    prepare(root, tmp_path / "weak", ["train_w", "unlabelled"])
    assert set(read_table(tmp_path / "weak/train_w/text")) == {f"{YOUTUBE}_S00006"}
    check_clean(tmp_path / "weak", untexted=("unlabelled",))
    for out in ("data", "weak"):
        assert read_table(tmp_path / out / "unlabelled/segments") == read_table(tmp_path / "before/unlabelled/segments")


def test_a_set_without_segments_is_told_or_refused(root: Path, tmp_path: Path) -> None:
    edit("WenetSpeech.json", '"S"', '"XL"')(root)
    assert "train_s differs: 0 utterances" in str(prepare(root, tmp_path / "data")).replace("0.00 hours, 100 are published", "0 utterances")
    check_refused("wenetspeech", root, "train_s: no utterance in it; fetch WenetSpeech (", ("train_s", "train_m"))


def test_a_table_without_its_recordings_is_told(root: Path) -> None:
    shutil.rmtree(root / "audio")
    message = f"--corpus {root}: beside WenetSpeech.json there is no audio/train, nor another folder of audio/; fetch audio/train with "
    check_refused("wenetspeech", root, message)


def test_recordings_without_segments_are_told(root: Path, tmp_path: Path) -> None:
    copy("audio/dev/DEV_T0000000000.opus", "audio/dev/DEV_T0000000009.opus")(root)
    summary = str(prepare(root, tmp_path / "data"))
    assert f"dropped 1: recordings that WenetSpeech.json does not name: {root}/audio/dev/DEV_T0000000009.opus" in summary
    assert len(read_table(tmp_path / "data/dev/wav.scp")) == 1


TABLE, DEV = "WenetSpeech.json", "audio/dev/DEV_T0000000000.opus"
AID = '{\n            "aid": "DEV'
SPOILED = {  # how, text that begins in the line that the message names, message after it
    "transcript without audio": (remove(DEV), AID, "DEV_T0000000000: its recording "),
    "cut recording": (cut(DEV), AID, "DEV_T0000000000: "),
    "no field": (edit(TABLE, '"end_time": 4.9', '"ende": 4.9'), f"{YOUTUBE}_S00004", "the field `end_time` is missing or of another type"),
    "no path": (edit(TABLE, '"path": "audio/dev', '"file": "audio/dev'), AID, "the field `path` is missing or of another type"),
    "a number for a text": (edit(TABLE, '"sid": "DEV_T0000000000_S00002"', '"sid": 7'), '"sid": 7', "the field `sid` is missing or"),
    "subset in a list": (edit(TABLE, '"DEV"', '["DEV"]'), "DEV_T0000000000_S00000", "DEV_T0000000000_S00000: `subsets` holds [['DEV']]"),
    "time outside": (edit(TABLE, '"end_time": 4.9', '"end_time": 99'), f"{YOUTUBE}_S00004", f"{YOUTUBE}_S00004: 3.5 to 99 s is outside"),
    "segment of another": (edit(TABLE, '"sid": "DEV_T', '"sid": "DIV_T'), "DIV_T", "DIV_T0000000000_S00000: is no segment of DEV_T000"),
    "segment twice": (edit(TABLE, "DEV_T0000000000_S00004", "DEV_T0000000000_S00002"), "", "DEV_T0000000000_S00002: this id was"),
    "recording twice": (edit(TABLE, '"aid": "DEV_T0000000000"', '"aid": "P0000000002"'), "", "P0000000002: this id was already in"),
    "an item that is none": (edit(TABLE, '"audios": [', '"audios": [\n7,'), "7,", "7 where an object with aid, path, segments is expected"),
    "bad JSON": (edit(TABLE, '"duration":', '"duration"'), '"duration"', "Expecting ':' delimiter"),
    "truncated": (cut(TABLE), "", "the file ends "),
    "not JSON": (lambda root: (root / TABLE).write_text("audios"), "audios", "`a` where { is expected"),
    "no audios": (edit(TABLE, '"audios"', '"audio"'), "", "no array `audios` in it"),
    "latin-1": (edit(TABLE, "打开空调", "\xe9"), "", "not UTF-8"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_input_is_named(name: str, root: Path) -> None:
    spoil, where, message = SPOILED[name]
    spoil(root)
    location = f"{TABLE}:{line_of(root, where)}: " if where and name != "latin-1" else ""
    check_refused("wenetspeech", root, location + message)


def test_a_wrong_folder_is_named(root: Path) -> None:
    check_refused("wenetspeech", root / "audio", "none of WenetSpeech.json is in it, nor in WenetSpeech/; it holds dev, test_meeting, ")
