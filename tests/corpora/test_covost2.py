from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.corpora.covost2 import COUNTS, PAIRS, prepare
from m2asr.data.directory import read_table
from tests.corpora import trees
from tests.corpora.bad import append, check_clean, check_refused, cut, edit, remove


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.covost2(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A copy with tables of its own; the clips are links."""
    root = tmp_path / "covost2"
    for path in pristine.rglob("*"):
        if path.suffix == ".tsv":
            trees.write_lines(root / path.relative_to(pristine), *path.read_text(encoding="utf-8").splitlines())
        elif path.suffix == ".mp3":
            (root / path.relative_to(pristine)).parent.mkdir(parents=True, exist_ok=True)
            (root / path.relative_to(pristine)).symlink_to(path)
    return root


def test_sets_hold_what_the_corpus_holds(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    summary = str(prepare(root, out))
    names = [f"{name}_{lang}" for name in ("dev", "test", "train", "unlabelled") for lang in ("en", "it")]
    assert sorted(path.name for path in out.iterdir()) == names
    check_clean(out, untexted=("unlabelled_en", "unlabelled_it"))
    speaker = "itaaaaaaaa"
    assert read_table(out / "train_it/text") == {
        f"{speaker}-common_voice_it_0": "tutti i circuiti sono ora occupati",
        f"{speaker}-common_voice_it_1": "seguito dal tasto cancelletto",
    }
    assert set(read_table(out / "train_it/utt2spk").values()) == {speaker}
    assert set(read_table(out / "train_it/utt2lang").values()) == {"it"}
    assert read_table(out / "test_it/text").keys() == {"itcccccccc-common_voice_it_4", "itcccccccc-common_voice_it_5"}
    assert "31698 utterances" in summary and "train_it differs: 2 utterances, 31698 are published" in summary


def test_translations_stay_cased_and_punctuated_one_file_per_target(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data")
    assert set(read_table(tmp_path / "data/train_it/text.en").values()) == {'Hallo, "Welt" en!'}
    for lang, target in (("de", "de"), ("zh", "zh-CN")):
        assert set(read_table(tmp_path / f"data/test_en/text.{lang}").values()) == {f'Hallo, "Welt" {target}!'}
        assert len(read_table(tmp_path / f"data/test_en/text.{lang}")) == 2
    assert not list((tmp_path / "data").glob("*_it/text.de"))


def test_unlabelled_has_no_clip_and_no_speaker_of_dev_and_test(root: Path, tmp_path: Path) -> None:
    """Speaker b is in dev, c in test, and d in the dev of version 1: clips 3, 6 and 7 stay out; a clip of a in other.tsv gets in."""
    append("it/other.tsv", "itbbbbbbbb\tcommon_voice_it_3b.mp3\tCiao.\t0\t0\t\t\t")(root)
    append("it/other.tsv", "itaaaaaaaa\tcommon_voice_it_0b.mp3\tCiao.\t0\t0\t\t\t")(root)
    (root / "it/clips/common_voice_it_0b.mp3").symlink_to(root / "it/clips/common_voice_it_0.mp3")
    summary = str(prepare(root, tmp_path / "data"))
    clips = {utt.rpartition("_")[2] for utt in read_table(tmp_path / "data/unlabelled_it/utt2spk")}
    assert clips == {"8", "9", "10", "11", "0b"}
    assert not list((tmp_path / "data/unlabelled_it").glob("text*"))
    assert "dropped 7: of a speaker of dev or test, so not in unlabelled: " in summary
    assert "dropped 3: in no split of CoVoST 2 (`dev_covost`): common_voice_en_6.mp3, common_voice_en_6.mp3" in summary


def test_dev_and_test_of_other_pairs_and_of_common_voice_count_too(root: Path, tmp_path: Path) -> None:
    append("covost_v2.en_de.tsv", "common_voice_en_8.mp3\tHallo!\ttest")(root)  # of speaker e, who has clip 9 too
    trees.write_lines(root / "en/dev.tsv", "client_id\tpath\tsentence", "enffffffff\tcommon_voice_en_11.mp3\tHello.")
    prepare(root, tmp_path / "data", ["en_zh-CN"])
    assert not (tmp_path / "data/unlabelled_en").exists()
    (root / "en/dev.tsv").unlink()
    prepare(root, tmp_path / "data", ["en_zh-CN"])
    clips = {utt.rpartition("_")[2] for utt in read_table(tmp_path / "data/unlabelled_en/utt2spk")}
    assert clips == {"10", "11"}


def test_clips_that_cannot_be_used_are_told(root: Path, tmp_path: Path) -> None:
    """An unlabelled clip that cannot be read, and one that no table names, stop nothing."""
    replace("it/clips/common_voice_it_8.mp3")(root)
    (root / "it/clips/common_voice_it_77.mp3").symlink_to(root / "it/clips/common_voice_it_0.mp3")
    (root / "fr/clips").mkdir(parents=True)
    summary = str(prepare(root, tmp_path / "data"))
    assert "dropped 1: unlabelled and cannot be read: " in summary and "common_voice_it_8.mp3: truncated" in summary
    assert "dropped 1: clips that neither validated.tsv nor other.tsv names: common_voice_it_77.mp3" in summary
    assert "fr: Common Voice without translations; to have it, fetch covost_v2.fr_en.tsv" in summary


def test_pairs_can_be_chosen(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data", ["en_zh-CN"])
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["dev_en", "test_en", "train_en", "unlabelled_en"]
    assert [path.name for path in (tmp_path / "data").glob("train_en/text.*")] == ["text.zh"]
    check_refused("covost2", root, "--parts fr_en: ", ("fr_en",))


def test_there_are_36_pairs() -> None:
    """21 languages into English, English into 15."""
    assert len(PAIRS) == len(set(PAIRS)) == 36 and len(COUNTS) == 22


TABLE, CLIPS = "covost_v2.it_en.tsv", "it/clips/common_voice_it_"


def replace(name: str) -> object:
    """Make a clip a file of its own and cut it."""

    def spoil(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).unlink()
        (root / name).write_bytes(data)
        cut(name)(root)

    return spoil


SPOILED = {
    "no language": (lambda root: (root / "it").rename(root / "italian"), "it/validated.tsv: not found; fetch it of Common Voice 4"),
    "no clips": (lambda root: (root / "it/clips").rename(root / "it/wav"), "it/clips: not found; fetch it of Common Voice 4"),
    "transcript without audio": (remove(f"{CLIPS}0.mp3"), "it/validated.tsv:2: its recording "),
    "cut clip": (replace(f"{CLIPS}0.mp3"), "it/validated.tsv:2: "),
    "translation without transcript": (
        append(TABLE, "common_voice_it_99.mp3\tHello.\ttrain"),
        f"{TABLE}:8: common_voice_it_99.mp3: ",
    ),
    "id twice": (append(TABLE, "common_voice_it_0.mp3\tHello.\ttrain"), f"{TABLE}:8: common_voice_it_0.mp3: this id"),
    "clip twice": (append("it/other.tsv", "a\tcommon_voice_it_0.mp3\tCiao.\t0\t0\t\t\t"), "it/other.tsv:4: common_voice_it_0.mp3: this id"),
    "in two splits": (
        edit("covost_v2.en_de.tsv", 'common_voice_en_0.mp3\tHallo, \\"Welt\\" de!\ttrain', "common_voice_en_0.mp3\tHallo\tdev"),
        "covost_v2.en_zh-CN.tsv:2: common_voice_en_0.mp3 is in train here and in dev in ",
    ),
    "no translation": (edit(TABLE, 'Hallo, \\"Welt\\" en!', ""), f"{TABLE}:2: the column `translation` is empty"),
    "no path": (edit(TABLE, "common_voice_it_1.mp3", ""), f"{TABLE}:3: the column `path` is empty"),
    "no split": (append(TABLE, "common_voice_it_7.mp3\tHello.\t"), f"{TABLE}:8: the column `split` is empty"),
    "no sentence": (edit("it/validated.tsv", trees.said(3, "it"), ""), "it/validated.tsv:3: the column `sentence` of common_voice"),
    "no speaker": (edit("it/validated.tsv", "itaaaaaaaa", ""), "it/validated.tsv:2: the column `client_id` is empty"),
    "no column": (edit(TABLE, "translation", "text"), f"{TABLE}:1: no column translation in its header (path, text, split)"),
    "short row": (append(TABLE, "common_voice_it_7.mp3\tHello."), f"{TABLE}:8: 2 columns where the header has 3"),
    "empty table": (lambda root: (root / TABLE).write_text(""), f"{TABLE}:1: no column path, translation, split in its header"),
    "latin-1": (edit(TABLE, "Welt", "\xe9"), f"{TABLE}:2: not UTF-8"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_input_is_named(name: str, root: Path) -> None:
    spoil, message = SPOILED[name]
    spoil(root)
    check_refused("covost2", root, message)


def test_wrong_folders_and_versions_are_named(root: Path) -> None:
    check_refused("covost2", root / "it/clips", "no covost_v2.<source>_<target>.tsv in it or one folder below; fetch them from")
    (root / "cv-corpus-7.0-2021-07-21").mkdir()
    (root / "it").rename(root / "cv-corpus-7.0-2021-07-21/it")
    check_refused("covost2", root, "cv-corpus-7.0-2021-07-21/it: another version of Common Voice, CoVoST 2 is built on version 4; fetch it")
    for path in root.glob("covost_v2.*"):
        path.rename(path.with_name(path.name.replace("_v2", "")))
    check_refused("covost2", root, "covost.*.tsv is version 1")
